"""Tree of all branches of a session, by name or first words.

A branch is a run of messages up to a fork; its id is that of its first message. The rows are in the
order of the tree: the branches that begin at the end of a branch follow it, one level deeper.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import ClassVar, Literal

from msgspec import Struct
from textual.binding import BindingType

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.session import Branch, branches
from lmchat.domain.tool import tool_calls_text
from lmchat.text import SafeText, safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import Icons, icons_for
from lmchat.tui.messages import ChangeBranch
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED, StyledTexts
from lmchat.tui.widgets.row_list import ASIDE, NAME, ListRow

_MOST_INDENT = 24  # cells
_FIRST_WORDS = 120  # characters of a branch's first message
_NAME_LENGTH = 40  # characters
_EMPTY = "This session is empty. u restores the branch deleted last."


class TreeContent(Struct, frozen=True, kw_only=True):
    """Messages and branches that the tree shows."""

    messages: Sequence[ChatMessage] = ()  # all messages that are not deleted
    path_ids: Collection[str] = ()  # ids of the messages that the chat shows
    names: Mapping[str, str] = {}  # names of branches, by the id of their first message


class MessageTree(ListDialog[str | None]):
    """Tree dialog; posts `ChangeBranch`, and returns the id of the branch to go to.

    The id of a branch is that of its first message.
    """

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
        ("d,delete", "act('delete')"),
        ("u", "act('undo')"),
        ("left", "to_parent"),
        ("right", "to_child"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._branches: list[Branch] | None = None  # None until the tree is read
        self._content = TreeContent()

    def show(self, content: TreeContent) -> None:
        """Show the branches of a session.

        The first time, choose the branch at the end of the path that the chat shows; later, the
        branch that was chosen before, or its parent if it is gone.
        """
        is_first = self._branches is None
        old_choice = self._chosen_branch()
        self._content = content
        self._branches = branches(content.messages)
        choice = self._end_of_path() if is_first else self._nearest_to(old_choice)
        self.call_after_refresh(self.draw, choice.branch_id if choice else None)

    def _end_of_path(self) -> Branch | None:
        """Return the last branch of the path that the chat shows; None in an empty session."""
        path_ids = self._content.path_ids
        on_path = [branch for branch in self._branches or () if branch.branch_id in path_ids]
        return on_path[-1] if on_path else None

    def _chosen_branch(self) -> Branch | None:
        index = self._chosen_index()
        return self._branches[index] if self._branches and index is not None else None

    def _nearest_to(self, old_choice: Branch | None) -> Branch | None:
        """Return the branch with the first message of an old branch, else with its parent message.

        Branches may be joined or removed since. Return None if none has either message.
        """
        if old_choice is None:
            return None
        first = old_choice.messages[0]
        for message_id in (first.message_id, first.parent_id):
            for branch in self._branches or ():
                if message_id in [message.message_id for message in branch.messages]:
                    return branch
        return None

    def draw(self, choose: str | None = None) -> None:
        """Draw the branches that were read last; choose one by its id, or keep the choice."""
        if self._branches is None or not self.can_show:
            return
        rows = [branch_row(branch, self._content, icons_for(self)) for branch in self._branches]
        figures = (
            formatting.counted(_count_ends(self._branches), "branch", "es"),
            formatting.counted(len(self._content.messages), "message"),
        )
        self.show_rows(rows, *figures, choose=choose, nothing=_EMPTY)

    @property
    def chosen_id(self) -> str:
        return "" if self.list.key is None else str(self.list.key)

    def name_of(self, branch_id: str) -> str:
        return self._content.names.get(branch_id, "")

    def action_go_there(self) -> None:
        if self.chosen_id:
            self.dismiss(self.chosen_id)

    def action_act(self, act: Literal["name", "delete", "undo"]) -> None:
        """Post the request to name or delete the chosen branch, or to undo the last deletion.

        Without a chosen branch, only `undo` is posted.
        """
        branch_id = self.chosen_id
        if branch_id or act == "undo":
            self.post_message(ChangeBranch(act, branch_id, self.name_of(branch_id)))

    def action_to_parent(self) -> None:
        """Choose the parent of the chosen branch: the next one above it that is less deep."""
        index = self._chosen_index()
        if index is None or self._branches is None:
            return
        depth = self._branches[index].depth
        for branch in reversed(self._branches[:index]):
            if branch.depth < depth:
                self.list.choose(branch.branch_id)
                return

    def action_to_child(self) -> None:
        """Choose a child of the chosen branch: the one on the path of the chat, else the first.

        Do nothing if the branch has none.
        """
        index = self._chosen_index()
        if index is None or self._branches is None:
            return
        depth = self._branches[index].depth
        below = takewhile(lambda branch: branch.depth > depth, self._branches[index + 1 :])
        children = [branch for branch in below if branch.depth == depth + 1]
        on_path = [child for child in children if child.branch_id in self._content.path_ids]
        if children:
            nearest = (on_path or children)[0]
            self.list.choose(nearest.branch_id)

    def _chosen_index(self) -> int | None:
        ids = [branch.branch_id for branch in self._branches or ()]
        return ids.index(self.chosen_id) if self.chosen_id in ids else None


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


def branch_row(branch: Branch, content: TreeContent, icons: Icons) -> ListRow:
    """Return the row of a branch: its name, its first words, and at the right author and length.

    Without a name, only the first words are shown; without words, the state of the message.
    The row is marked if the branch is on the path of the chat.
    """
    opening = branch.opening  # the first message that is no system prompt
    author = safe_line(opening.model, limit=20) or str(opening.role)
    if opening.role is Role.USER:
        author = "you"
    words = safe_line(opening.text or tool_calls_text(opening), limit=_FIRST_WORDS)
    words = words or SafeText(f"({opening.state})")
    name = safe_line(content.names.get(branch.branch_id, ""), limit=_NAME_LENGTH)
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
        is_open=branch.branch_id in content.path_ids,
    )
