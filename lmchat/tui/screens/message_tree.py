"""Tree of all branches of a session, by name or first words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import ClassVar

from msgspec import Struct
from textual.binding import Binding, BindingType

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.session import Branch, branches
from lmchat.domain.tool import called
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import Icons, icons_for
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED
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
        Binding("enter", "go_there", show=False),
        Binding("n", "act('name')", show=False),
        Binding("d,delete", "act('prune')", show=False),
        Binding("u", "act('undo')", show=False),
        Binding("left", "to_parent", show=False),
        Binding("right", "to_child", show=False),
    ]

    def __init__(self, act: Callable[[str, str], None]) -> None:
        super().__init__()
        self._act = act
        self._branches: list[Branch] | None = None
        self._shown = TreeShown()

    def show(self, shown: TreeShown) -> None:
        """Show a tree; choose the end of the shown path at first, later the same branch or its parent."""
        before, self._shown, self._branches = self._branches, shown, branches(shown.messages)
        if before is None:
            on_path = [one for one in self._branches if one.branch_id in shown.path]
            choose = on_path[-1] if on_path else None
        else:
            chosen = next((one for one in before if one.branch_id == self.chosen_id), None)
            choose = None if chosen is None else self._nearest(chosen.messages[0])
        self.call_after_refresh(self.draw, None if choose is None else choose.branch_id)

    def _nearest(self, head: ChatMessage) -> Branch | None:
        for wanted in (head.message_id, head.parent_id):
            for one in self._branches or ():
                if any(message.message_id == wanted for message in one.messages):
                    return one
        return None

    def draw(self, choose: str | None = None) -> None:
        if self._branches is None or not self.can_show:
            return
        rows = list(tree_rows(self._branches, self._shown, icons_for(self)))
        depths = [one.depth for one in self._branches]
        ends = sum(after <= depth for depth, after in zip(depths, [*depths, 0][1:], strict=True))
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
        place, found = self._place(), self._branches or []
        above = (one for one in reversed(found[:place]) if one.depth < found[place].depth)
        if (parent := next(above, None)) is not None:
            self.list.choose(parent.branch_id)

    def action_to_child(self) -> None:
        """Choose the branch that the chosen one ends in: the shown one, else the first."""
        place, found = self._place(), self._branches or []
        deeper = takewhile(lambda one: one.depth > found[place].depth, found[place + 1 :])
        below = [one for one in deeper if one.depth == found[place].depth + 1]
        shown = [one for one in below if one.branch_id in self._shown.path]
        if below:
            self.list.choose((shown or below)[0].branch_id)

    def _place(self) -> int:
        ids = [one.branch_id for one in self._branches or ()]
        return ids.index(self.chosen_id) if self.chosen_id in ids else len(ids)


def tree_rows(found: Iterable[Branch], shown: TreeShown, icons: Icons) -> Iterator[ListRow]:
    """Return a row for each branch: name, first words, role and length."""
    for branch in found:
        opening = branch.opening
        who = (
            "you"
            if opening.role is Role.USER
            else safe_line(opening.model, limit=20) or str(opening.role)
        )
        words = (
            safe_line(opening.text or called(opening), limit=_FIRST_WORDS) or f"({opening.state})"
        )
        name = safe_line(shown.names.get(branch.branch_id, ""), limit=_NAME_LENGTH)
        start = " " * min(2 * branch.depth, _MOST_INDENT)
        left = ((start + (f"{icons.fork} " if branch.depth else ""), MUTED), (name or words, NAME))
        count = f"{who} {icons.dot} {formatting.counted(len(branch.messages), 'message')}"
        yield ListRow(
            (left, ((f"  {words}", ASIDE),)) if name else (left,),
            ((count, MUTED),),
            key=branch.branch_id,
            is_open=branch.branch_id in shown.path,
        )
