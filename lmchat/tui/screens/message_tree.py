"""All branches of a session, by their first words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from textual.binding import Binding
from textual.widget import Widget

from lmchat.domain.message import ChatMessage, Role
from lmchat.safe_text import safe_line
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.signs import Signs, signs_for
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import NAME, ListRow, RowList

_MOST_INDENT = 24
_FIRST_WORDS = 120


class MessageTree(ListDialog[str | None]):
    """Dismisses with the id of the message to go to."""

    AUTO_FOCUS = ""
    TITLE_TEXT = "Tree"
    HINTS = (("Enter", "go there"), ("↑ ↓", "choose"))
    BINDINGS = [Binding("enter", "take", show=False)]  # noqa: RUF012 - as Textual declares it

    def __init__(self, messages: Sequence[ChatMessage], path: Collection[str]) -> None:
        super().__init__()
        self._messages = messages
        self._path = frozenset(path)

    def compose_content(self) -> Iterable[Widget]:
        """Return the list."""
        yield RowList()

    def on_mount(self) -> None:
        """Choose the end of the path that is shown."""
        rows = list(tree_rows(self._messages, self._path, signs_for(self)))
        last = next(
            (one.message_id for one in reversed(self._messages) if one.message_id in self._path), None
        )
        self.list.show(rows, choose=last)
        self.call_after_refresh(self.fit_list, len(rows))
        self.call_after_refresh(self.show_title, f"{len(self._messages)} messages")

    def action_take(self) -> None:
        """Leave with the chosen message."""
        self.dismiss(None if self.list.key is None else str(self.list.key))


def tree_rows(messages: Sequence[ChatMessage], path: Collection[str], signs: Signs) -> Iterator[ListRow]:
    """Return a row a message, children after their parent; only a fork moves to the right."""
    children: dict[str | None, list[ChatMessage]] = {}
    known = {one.message_id for one in messages}
    for one in messages:
        children.setdefault(one.parent_id if one.parent_id in known else None, []).append(one)
    yield from _below(None, children, frozenset(path), signs)


def _below(
    root: str | None,
    children: Mapping[str | None, Sequence[ChatMessage]],
    path: Collection[str],
    signs: Signs,
) -> Iterator[ListRow]:
    waiting = [(one, 0) for one in reversed(children.get(root, ()))]
    while waiting:
        message, indent = waiting.pop()
        yield _row(message, indent, path, signs)
        below = children.get(message.message_id, ())
        deeper = indent + 2 if len(below) > 1 else indent
        waiting += [(one, deeper) for one in reversed(below)]


def _row(message: ChatMessage, indent: int, path: Collection[str], signs: Signs) -> ListRow:
    who = "you" if message.role is Role.USER else safe_line(message.model, limit=20) or str(message.role)
    words = safe_line(message.text, limit=_FIRST_WORDS) or f"({message.state})"
    fork = f"{signs.fork} " if message.versions > 1 else ""
    return ListRow(
        (((" " * min(indent, _MOST_INDENT) + fork, MUTED), (words, NAME)),),
        ((who, MUTED),),
        key=message.message_id,
        is_open=message.message_id in path,
    )
