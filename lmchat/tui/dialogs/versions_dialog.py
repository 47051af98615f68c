"""Versions of messages: the tree of all branches of a session, and two versions side by side.

A branch is a run of messages up to a fork; its id is that of its first message.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widget import Widget

from lmchat import units
from lmchat.markdown.highlighter import Highlighter
from lmchat.safe_text import safe_line
from lmchat.sessions.message import AnswerState, ChatMessage, Role, tool_calls_text
from lmchat.sessions.session import Branch, branches
from lmchat.tui.chat_log.chat_log import ChatLog
from lmchat.tui.chat_log.headers_footers import stats_figures
from lmchat.tui.dialogs.dialog import Dialog, ListDialog
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, content, styled
from lmchat.tui.widgets.row_list import NAME, ListRow
from lmchat.units import UNICODE

_MOST_INDENT = 24  # cells
_FIRST_WORDS = 120  # characters of a branch's first message
_BESIDE = 100  # columns from which two versions have room beside each other


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


class VersionPane(Vertical):
    """One version of a message: heading, figures, and its text in a log."""

    def __init__(self, highlighter: Highlighter) -> None:
        super().__init__()
        self._highlighter = highlighter

    def compose(self) -> ComposeResult:
        yield LineWidget(classes="heading")
        yield LineWidget(classes="figures")
        yield ChatLog(highlighter=self._highlighter)

    def show(self, message: ChatMessage, number: int, count: int) -> None:
        """Show a version, which is number `number` of `count`, from its start."""
        dot = f" {UNICODE.dot} "
        model = f"{dot}{safe_line(message.model, limit=80)}" if message.model else ""
        heading = content(((f"Version {number} of {count}", STRONG), (model, MUTED)))
        self.query_one(".heading", LineWidget).show([heading])
        first, *others = _figures(message) or [""]
        pieces = [first, *(f"{dot}{figure}" for figure in others)]
        figures = [styled(piece, MUTED) for piece in pieces]
        self.query_one(".figures", LineWidget).show(figures)

        log = self.query_one(ChatLog)
        # state, model and figures are above the log already
        bare = replace(message, state=AnswerState.COMPLETE, stats=None, model="", versions=1)
        log.load([bare] if bare.parts else [])
        if not bare.parts:
            log.notice(message.failure.message if message.failure else "No text.")
        log.scroll_home()


class VersionsDialog(Dialog[str | None]):
    """Shows two versions of a message; returns the id of the one to keep."""

    AUTO_FOCUS = "ChatLog"
    HEADING = "Compare versions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "change(-1)", priority=True),
        Binding("right", "change(1)", priority=True),
        Binding("enter", "keep", priority=True),
        ("space", "fold"),
    ]

    def __init__(
        self, versions: Sequence[ChatMessage], message_id: str, highlighter: Highlighter
    ) -> None:
        """Show two of at least two versions.

        On the left is the version with the id `message_id`; on the right the version before it, or
        for the first version the second.
        """
        super().__init__()
        self._versions = versions
        left = [version.message_id for version in versions].index(message_id)
        right = left - 1 if left else 1  # the first version has none before it
        self._sides = [left, right]  # the indexes of the versions on the left and on the right
        self._highlighter = highlighter

    def compose_content(self) -> Iterable[Widget]:
        left = VersionPane(self._highlighter)
        right = VersionPane(self._highlighter)
        yield Container(left, right, id="panes")

    def on_mount(self) -> None:
        # after the layout: a log wraps its text for its size
        self.call_after_refresh(self._show_sides)

    def on_resize(self) -> None:
        self.set_class(self.size.width < _BESIDE, "-stacked")
        self._show_choice()

    def _show_sides(self) -> None:
        for pane, index in zip(self.query(VersionPane), self._sides, strict=True):
            pane.show(self._versions[index], index + 1, len(self._versions))
        self._show_choice()

    @property
    def _focused_side(self) -> int:
        """The side that has the focus: 0 for the left one, 1 for the right one."""
        return int(self.query(VersionPane).last().has_focus_within)

    @on(events.DescendantFocus)
    def _show_choice(self) -> None:
        """Show in the row of keys which version Enter keeps: that of the focused side."""
        if not self.can_show:
            return
        names = ("top", "bottom") if self.has_class("-stacked") else ("left", "right")
        side = self._focused_side
        hints = [("Enter", f"keep version {self._sides[side] + 1} ({names[side]})")]
        hints.append(("Tab", "other side"))
        if len(self._versions) > len(self._sides):
            hints.append(("← →", f"change {names[1]}"))
        hints.append(("PgUp PgDn", "scroll"))
        self.show_keys(hints)

    @on(ChatLog.ActionWanted)
    def _copy(self, event: ChatLog.ActionWanted) -> None:
        """Copy what the log offers; other commands on a message do nothing here."""
        if event.text and event.name in ("copy", "copy_code"):
            self.app.copy_to_clipboard(event.text)

    def action_change(self, step: int) -> None:
        """Show on the right the version `step` places after the one that is there, in a ring.

        The version on the left is skipped. With only two versions, nothing changes.
        """
        left, right = self._sides
        count = len(self._versions)
        index = (right + step) % count
        if index == left:
            index = (index + step) % count
        self._sides[1] = index
        if index != right:
            self.query(VersionPane).last().show(self._versions[index], index + 1, count)
            self._show_choice()

    def action_fold(self) -> None:
        """Fold or unfold reasoning on the side that has the focus."""
        self.query(ChatLog)[self._focused_side].action_message("fold")

    def action_keep(self) -> None:
        self.dismiss(self._versions[self._sides[self._focused_side]].message_id)


def _figures(message: ChatMessage) -> list[str]:
    """Return the figures of an answer; of another message, the time.

    Before the figures comes the state of an incomplete answer, or the ending in the stats of
    a complete one, if it has one.
    """
    if message.role is not Role.ASSISTANT:
        return [f"{message.created_at.astimezone():%H:%M}"]
    figures = []
    stats = message.stats
    if message.state is not AnswerState.COMPLETE:
        figures.append(message.state.value)
    elif stats and stats.ending:
        figures.append(safe_line(stats.ending, limit=40))
    if stats:
        figures += ["edited"] if stats.is_edited else []
        figures += stats_figures(stats)
    return figures
