"""Tree of all branches of a session.

A branch is a run of messages up to a fork; its id is that of its first message.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lmchat import units
from lmchat.safe_text import safe_line
from lmchat.sessions.message import ChatMessage, Role, tool_calls_text
from lmchat.sessions.session import Branch, branches
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import NAME, ListRow
from lmchat.units import UNICODE

_MOST_INDENT = 24  # cells
_FIRST_WORDS = 120  # characters of a branch's first message


class MessageTree(ListDialog[str | None]):
    """Tree of branches; returns the id of the one to open."""

    AUTO_FOCUS = ""
    HEADING = "Tree"
    HINTS = (("Enter", "open"),)

    def __init__(self, messages: Sequence[ChatMessage], path_ids: Collection[str]) -> None:
        """Create the dialog, in which the branch at the end of the path is chosen.

        `messages` are all that are not deleted, `path_ids` the ids of those that the chat shows.
        """
        super().__init__()
        self._branches = branches(messages)
        self._path_ids = path_ids

    def on_mount(self) -> None:
        on_path = [one.branch_id for one in self._branches if one.branch_id in self._path_ids]
        self.call_after_refresh(self.draw, on_path[-1] if on_path else None)

    def draw(self, choose: str | None = None) -> None:
        """Draw the branches; choose one by its id, or keep the choice."""
        depths = [branch.depth for branch in self._branches]
        # a branch has children if the next one is deeper: these follow it
        ends = sum(depth >= after for depth, after in zip(depths, [*depths[1:], 0], strict=False))
        count = sum(len(branch.messages) for branch in self._branches)
        self.show_rows(
            list(map(self._row, self._branches)),
            units.counted(ends, "branch", "es"),
            units.counted(count, "message"),
            choose=choose,
            nothing="This session is empty.",
        )

    def _row(self, branch: Branch) -> ListRow:
        """Return the row of a branch: its first words or state, and at the right author and length.

        The branches of the path are marked.
        """
        opening = branch.opening
        author = safe_line(opening.model, limit=20) or str(opening.role)
        if opening.role is Role.USER:
            author = "you"
        words = safe_line(opening.text or tool_calls_text(opening), limit=_FIRST_WORDS)
        start = " " * min(2 * branch.depth, _MOST_INDENT)
        if branch.depth:
            start += f"{UNICODE.fork} "
        count = units.counted(len(branch.messages), "message")
        return ListRow(
            (((start, MUTED), (words or f"({opening.state})", NAME)),),
            ((f"{author} {UNICODE.dot} {count}", MUTED),),
            key=branch.branch_id,
            is_open=branch.branch_id in self._path_ids,
        )

    def action_take(self) -> None:
        if self.list.key is not None:
            self.dismiss(str(self.list.key))
