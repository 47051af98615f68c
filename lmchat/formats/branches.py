"""What of a session's tree stands beside its path, as runs of messages that follow each other."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from lmchat.domain.message import ChatMessage
from lmchat.domain.session import Session
from lmchat.text import safe_line

_WORDS = 60
"""Characters of the message that a branch leaves."""


class Branch(Struct, frozen=True, kw_only=True):
    """Messages that follow each other, none of which is on the path or in an earlier branch."""

    parent: ChatMessage | None
    """The message that they follow; None where they begin the session anew."""
    messages: tuple[ChatMessage, ...]
    """At least one."""
    name: str = ""
    """What people call it."""

    @property
    def heading(self) -> str:
        """What stands above it, for people."""
        if self.parent is None:
            return f"Another beginning{self._named}"
        return f"Another branch{self._named}, after “{safe_line(self.parent.text, limit=_WORDS)}”"

    @property
    def _named(self) -> str:
        return f" “{safe_line(self.name, limit=_WORDS)}”" if self.name else ""


def branches(session: Session) -> Iterator[Branch]:
    """Yield what is beside the path, oldest first."""
    known = {message.message_id: message for message in session.tree}
    children: dict[str | None, list[ChatMessage]] = {}
    waiting = {message.message_id: message for message in session.branches}
    for one in waiting.values():
        children.setdefault(one.parent_id, []).append(one)
    while waiting:
        following, run = [next(iter(waiting.values()))], list[ChatMessage]()
        while fresh := next((one for one in following if one.message_id in waiting), None):
            run.append(waiting.pop(fresh.message_id))
            following = children.get(fresh.message_id, [])
        name = session.branch_names.get(run[0].message_id, "")
        yield Branch(parent=known.get(run[0].parent_id or ""), messages=tuple(run), name=name)


def places(session: Session) -> dict[str, int]:
    """Return where each message stands in time, by id; nothing where there is only the path."""
    if not session.branches:
        return {}
    return {message.message_id: place for place, message in enumerate(session.tree)}
