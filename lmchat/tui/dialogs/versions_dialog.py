"""Comparison of two versions of a message, beside or above each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widget import Widget

from lmchat.markdown.highlighter import Highlighter
from lmchat.safe_text import safe_line
from lmchat.services.conversation import Conversation
from lmchat.sessions.message import AnswerState, ChatMessage, Role
from lmchat.tui.chat_log.chat_log import ChatLog
from lmchat.tui.chat_log.headers_footers import stats_figures
from lmchat.tui.dialogs.dialog import Dialog
from lmchat.tui.icons import icons_for
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, content, styled

_BESIDE = 100  # columns from which two versions have room beside each other
_UPDATE_S = 1.0  # between two updates of a version that is still streaming


class VersionPane(Vertical):
    """One version of a message: heading, figures, and its text in a log."""

    def __init__(self, highlighter: Highlighter) -> None:
        super().__init__()
        self._highlighter = highlighter

    def compose(self) -> ComposeResult:
        yield LineWidget(classes="heading")
        yield LineWidget(classes="figures")
        yield ChatLog(highlighter=self._highlighter)

    def show(self, message: ChatMessage, number: int, count: int, *, is_new: bool) -> None:
        """Show a version, which is number `number` of `count`.

        If it `is_new` in this pane, show its text from the start. Otherwise update the text that is
        shown, and keep the position.
        """
        dot = f" {icons_for(self).dot} "
        model = f"{dot}{safe_line(message.model, limit=80)}" if message.model else ""
        heading = content(((f"Version {number} of {count}", STRONG), (model, MUTED)))
        self.query_one(".heading", LineWidget).show([heading])
        figures: list[Content] = []
        for figure in _figures(message):
            gap = dot if figures else ""
            figures.append(styled(f"{gap}{figure}", MUTED))
        self.query_one(".figures", LineWidget).show(figures)

        log = self.query_one(ChatLog)
        text_only = _without_figures(message)
        # a version without text is not in the log, and cannot be replaced there
        is_updated = not is_new and log.replace(text_only)
        if is_updated:
            return
        log.load([text_only] if text_only.parts else [])
        if not text_only.parts:
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
        self,
        versions: Sequence[ChatMessage],
        message_id: str,
        conversation: Conversation,
        highlighter: Highlighter,
    ) -> None:
        """Show two versions, of which there must be at least two.

        On the left is the version with the id `message_id`; on the right the version before it, or
        for the first version the second. The conversation has the text of a version that is still
        streaming.
        """
        super().__init__()
        self._conversation = conversation
        self._versions = list(map(conversation.current, versions))
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
        self.call_after_refresh(self._show_sides, 0, 1)
        if any(version.state is AnswerState.STREAMING for version in self._versions):
            self.set_interval(_UPDATE_S, self._update_streaming)

    def on_resize(self) -> None:
        self.set_class(self.size.width < _BESIDE, "-stacked")
        self._show_choice()

    def _show_sides(self, *sides: int, is_new: bool = True) -> None:
        """Show the versions on some sides: 0 is the left one, 1 the right one."""
        panes = list(self.query(VersionPane))
        for side in sides:
            index = self._sides[side]
            version = self._versions[index]
            panes[side].show(version, index + 1, len(self._versions), is_new=is_new)
        self._show_choice()

    def _update_streaming(self) -> None:
        """Read the versions from the conversation again, and update the panes that have changed."""
        old_versions = self._versions
        self._versions = list(map(self._conversation.current, old_versions))
        changed = [
            side
            for side, index in enumerate(self._sides)
            if self._versions[index] != old_versions[index]
        ]
        if self.can_show and changed:
            self._show_sides(*changed, is_new=False)

    @property
    def _focused_side(self) -> int:
        """The side that has the focus: 0 for the left one, 1 for the right one."""
        left, right = self.query(VersionPane)
        return 1 if right.has_focus_within and not left.has_focus_within else 0

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
            self._show_sides(1)

    def action_fold(self) -> None:
        """Fold or unfold reasoning on the side that has the focus."""
        self.query(ChatLog)[self._focused_side].action_message("fold")

    def action_keep(self) -> None:
        index = self._sides[self._focused_side]
        self.dismiss(self._versions[index].message_id)


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


def _without_figures(message: ChatMessage) -> ChatMessage:
    """Return a copy of a version without what the log would show around its text.

    State, model and figures are above the log already.
    """
    return replace(message, state=AnswerState.COMPLETE, stats=None, model="", versions=1)
