"""Tree of all branches of a session, by their first words.

A branch is a run of messages up to a fork; its id is that of its first message. The rows are in the
order of the tree: the branches that begin at the end of a branch follow it, one level deeper.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lmchat import units
from lmchat.safe_text import SafeText, safe_line
from lmchat.sessions.message import ChatMessage, Role, tool_calls_text
from lmchat.sessions.session import Branch, branches
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.icons import icons_for
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import NAME, ListRow
from lmchat.units import Icons

_MOST_INDENT = 24  # cells
_FIRST_WORDS = 120  # characters of a branch's first message
_EMPTY = "This session is empty."


class MessageTree(ListDialog[str | None]):
    """Tree dialog; returns the id of the branch to open.

    The id of a branch is that of its first message.
    """

    AUTO_FOCUS = ""
    HEADING = "Tree"
    HINTS = (("Enter", "open"),)

    def __init__(self) -> None:
        super().__init__()
        self._messages: Sequence[ChatMessage] | None = None  # None until the tree is read
        self._path_ids: Collection[str] = ()

    def show(self, messages: Sequence[ChatMessage], path_ids: Collection[str]) -> None:
        """Show the branches of a session, and choose the one at the end of the path.

        `messages` are all that are not deleted, `path_ids` the ids of those that the chat shows.
        """
        self._messages = messages
        self._path_ids = path_ids
        on_path = [one.branch_id for one in branches(messages) if one.branch_id in path_ids]
        self.call_after_refresh(self.draw, on_path[-1] if on_path else None)

    def draw(self, choose: str | None = None) -> None:
        """Draw the branches; choose one by its id, or keep the choice."""
        if self._messages is None or not self.can_show:
            return
        listed = branches(self._messages)
        rows = [
            branch_row(branch, icons_for(self), is_open=branch.branch_id in self._path_ids)
            for branch in listed
        ]
        figures = (
            units.counted(_count_ends(listed), "branch", "es"),
            units.counted(len(self._messages), "message"),
        )
        self.show_rows(rows, *figures, choose=choose, nothing=_EMPTY)

    @property
    def chosen_id(self) -> str:
        return "" if self.list.key is None else str(self.list.key)

    def action_take(self) -> None:
        if self.chosen_id:
            self.dismiss(self.chosen_id)


def _count_ends(listed: Sequence[Branch]) -> int:
    """Return how many branches have no children.

    `listed` is in the order of the tree: a branch has children if the next one is deeper.
    """
    count = 0
    for index, branch in enumerate(listed):
        is_last = index + 1 == len(listed)
        if is_last or listed[index + 1].depth <= branch.depth:
            count += 1
    return count


def branch_row(branch: Branch, icons: Icons, *, is_open: bool) -> ListRow:
    """Return the row of a branch: its first words, and at the right author and length.

    Without words, the state of the message is shown. `is_open` is whether the branch is on the path
    of the chat; then the row is marked.
    """
    opening = branch.opening  # the first message that is no system prompt
    author = safe_line(opening.model, limit=20) or str(opening.role)
    if opening.role is Role.USER:
        author = "you"
    words = safe_line(opening.text or tool_calls_text(opening), limit=_FIRST_WORDS)
    words = words or SafeText(f"({opening.state})")
    start = " " * min(2 * branch.depth, _MOST_INDENT)
    if branch.depth:
        start += f"{icons.fork} "
    count = units.counted(len(branch.messages), "message")
    return ListRow(
        (((start, MUTED), (words, NAME)),),
        ((f"{author} {icons.dot} {count}", MUTED),),
        key=branch.branch_id,
        is_open=is_open,
    )
