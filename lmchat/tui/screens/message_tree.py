"""Tree of all branches of a session, by name or first words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import takewhile
from typing import ClassVar

from msgspec import Struct
from textual.binding import BindingType

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.session import Branch, branches
from lmchat.domain.tool import tool_calls_text
from lmchat.text import SafeText, safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import Icons, icons_for
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED, StyledTexts
from lmchat.tui.widgets.row_list import ASIDE, NAME, ListRow

_MOST_INDENT = 24
_FIRST_WORDS = 120
_NAME_LENGTH = 40
_EMPTY = "This session is empty. u restores the branch deleted last."


class TreeShown(Struct, frozen=True, kw_only=True):
    """Content of the tree."""

    messages: Sequence[ChatMessage] = ()  # all messages that are not deleted
    path: Collection[str] = ()  # ids of the messages that the chat shows
    names: Mapping[str, str] = {}  # names of branches, by the id of their first message


class MessageTree(ListDialog[str | None]):
    """Tree dialog; calls back with `name`, `prune` or `undo`, and returns the message to go to."""

    AUTO_FOCUS = ""
    HEADING = "Tree"
    HINTS = (
        ("Enter", "open"),
        ("n", "name"),
        ("d", "delete"),
        ("u", "undo"),
        ("← →", "parent, child"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "go_there"),
        ("n", "act('name')"),
        ("d,delete", "act('prune')"),
        ("u", "act('undo')"),
        ("left", "to_parent"),
        ("right", "to_child"),
    ]

    def __init__(self, act: Callable[[str, str], None]) -> None:
        super().__init__()
        self._act = act
        self._branches: list[Branch] | None = None  # None until the tree is read
        self._shown = TreeShown()

    def show(self, shown: TreeShown) -> None:
        """Show a tree; choose the end of the shown path at first, later the same branch."""
        is_first = self._branches is None
        chosen = None if is_first else self._chosen_branch()
        self._shown = shown
        self._branches = branches(shown.messages)
        choose = self._end_of_path() if is_first else self._nearest(chosen)
        self.call_after_refresh(self.draw, choose.branch_id if choose else None)

    def _end_of_path(self) -> Branch | None:
        on_path = [
            branch for branch in self._branches or () if branch.branch_id in self._shown.path
        ]
        return on_path[-1] if on_path else None

    def _chosen_branch(self) -> Branch | None:
        index = self._chosen_index()
        return self._branches[index] if self._branches and index is not None else None

    def _nearest(self, old: Branch | None) -> Branch | None:
        """Return the branch that now has the first message of an old one, or its parent."""
        if old is None:
            return None
        head = old.messages[0]
        for wanted in (head.message_id, head.parent_id):
            for branch in self._branches or ():
                if wanted in [message.message_id for message in branch.messages]:
                    return branch
        return None

    def draw(self, choose: str | None = None) -> None:
        if self._branches is None or not self.can_show:
            return
        rows = [branch_row(branch, self._shown, icons_for(self)) for branch in self._branches]
        depths = [branch.depth for branch in self._branches]
        next_depths = [*depths, 0][1:]
        ends = sum(after <= depth for depth, after in zip(depths, next_depths, strict=True))
        figures = (
            formatting.counted(ends, "branch", "es"),
            formatting.counted(len(self._shown.messages), "message"),
        )
        self.show_rows(rows, *figures, choose=choose, nothing=_EMPTY)

    @property
    def chosen_id(self) -> str:
        return "" if self.list.key is None else str(self.list.key)

    def name_of(self, branch_id: str) -> str:
        return self._shown.names.get(branch_id, "")

    def action_go_there(self) -> None:
        if self.chosen_id:
            self.dismiss(self.chosen_id)

    def action_act(self, name: str) -> None:
        """Call back with what a key means; undo needs no branch."""
        if self.chosen_id or name == "undo":
            self._act(name, self.chosen_id)

    def action_to_parent(self) -> None:
        index = self._chosen_index()
        if index is None or self._branches is None:
            return
        depth = self._branches[index].depth
        for branch in reversed(self._branches[:index]):
            if branch.depth < depth:
                self.list.choose(branch.branch_id)
                return

    def action_to_child(self) -> None:
        """Choose the branch that the chosen one ends in: the shown one, else the first."""
        index = self._chosen_index()
        if index is None or self._branches is None:
            return
        depth = self._branches[index].depth
        below = takewhile(lambda branch: branch.depth > depth, self._branches[index + 1 :])
        children = [branch for branch in below if branch.depth == depth + 1]
        shown = [child for child in children if child.branch_id in self._shown.path]
        if children:
            self.list.choose((shown or children)[0].branch_id)

    def _chosen_index(self) -> int | None:
        ids = [branch.branch_id for branch in self._branches or ()]
        return ids.index(self.chosen_id) if self.chosen_id in ids else None


def branch_row(branch: Branch, shown: TreeShown, icons: Icons) -> ListRow:
    """Return the row of a branch: name, first words, author and length."""
    opening = branch.opening
    author = safe_line(opening.model, limit=20) or str(opening.role)
    if opening.role is Role.USER:
        author = "you"
    words = safe_line(opening.text or tool_calls_text(opening), limit=_FIRST_WORDS)
    words = words or SafeText(f"({opening.state})")
    name = safe_line(shown.names.get(branch.branch_id, ""), limit=_NAME_LENGTH)
    start = " " * min(2 * branch.depth, _MOST_INDENT)
    if branch.depth:
        start += f"{icons.fork} "
    pieces: list[StyledTexts] = [((start, MUTED), (name or words, NAME))]
    if name:
        pieces.append(((f"  {words}", ASIDE),))
    count = formatting.counted(len(branch.messages), "message")
    return ListRow(
        tuple(pieces),
        ((f"{author} {icons.dot} {count}", MUTED),),
        key=branch.branch_id,
        is_open=branch.branch_id in shown.path,
    )
