"""The tree of a session as people see it: branches, each from one parting of the ways to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Role


class Branch(Struct, frozen=True, kw_only=True):
    """Messages that follow each other without a choice."""

    messages: tuple[ChatMessage, ...]
    """At least one; the first is what tells the branch from its siblings."""
    depth: int = 0
    """How many partings lie before it."""

    @property
    def branch_id(self) -> str:
        """The id of its first message."""
        return self.messages[0].message_id

    @property
    def opening(self) -> ChatMessage:
        """The message whose first words say what it is about: not the system prompt, where there is more."""
        spoken = (message for message in self.messages if message.role is not Role.SYSTEM)
        return next(spoken, self.messages[0])


def branches(messages: Iterable[ChatMessage]) -> list[Branch]:
    """Return all branches of a tree, each before those that go off from its end, older ones first.

    What hangs below a message that is not there begins at the root.
    """
    tree = {message.message_id: message for message in messages}
    children: dict[str | None, list[ChatMessage]] = {}
    for message in tree.values():
        children.setdefault(message.parent_id if message.parent_id in tree else None, []).append(message)
    found: list[Branch] = []
    waiting = [(head, 0) for head in reversed(children.get(None, ()))]
    while waiting:
        head, depth = waiting.pop()
        run = _run(head, children)
        found.append(Branch(messages=tuple(run), depth=depth))
        waiting += [(one, depth + 1) for one in reversed(children.get(run[-1].message_id, ()))]
    return found


def _run(head: ChatMessage, children: dict[str | None, list[ChatMessage]]) -> Sequence[ChatMessage]:
    run = [head]
    while len(below := children.get(run[-1].message_id, [])) == 1:
        run += below
    return run
