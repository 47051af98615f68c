"""Comparison of two versions of a message, beside or above each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widget import Widget

from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.machine.highlighter import Highlighter
from lmchat.text import safe_line
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.chat_log.layout.annotations import receipt_figures
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, content, styled

_BESIDE = 100  # columns from which two versions have room beside each other
_FOLLOW_S = 1.0  # between two looks at a version that is still streaming


class VersionPane(Vertical):
    """One version: heading, figures and text."""

    def __init__(self, highlighter: Highlighter) -> None:
        super().__init__()
        self._highlighter = highlighter

    def compose(self) -> ComposeResult:
        yield LineWidget(classes="heading")
        yield LineWidget(classes="figures")
        yield ChatLog(highlighter=self._highlighter)

    def show(self, message: ChatMessage, number: int, count: int, *, is_new: bool) -> None:
        """Show a version from its start, or what has been added to the shown one."""
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
        bare = _without_receipt(message)
        if is_new or not log.replace(bare):
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
        self,
        versions: Sequence[ChatMessage],
        message_id: str,
        as_now: Callable[[ChatMessage], ChatMessage],
        highlighter: Highlighter,
    ) -> None:
        """Show a version of at least two beside the one before it.

        `as_now` returns a streaming version with the text that has arrived.
        """
        super().__init__()
        self._versions = list(versions)
        current = [version.message_id for version in versions].index(message_id)
        self._shown = [current, current - 1 if current else 1]  # indexes of the left and right one
        self._as_now = as_now
        self._highlighter = highlighter

    def compose_content(self) -> Iterable[Widget]:
        left = VersionPane(self._highlighter)
        right = VersionPane(self._highlighter)
        yield Container(left, right, id="panes")

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_sides, 0, 1)  # the text starts where its size is known
        if any(version.state is AnswerState.STREAMING for version in self._versions):
            self.set_interval(_FOLLOW_S, self._follow)

    def on_resize(self) -> None:
        self.set_class(self.size.width < _BESIDE, "-stacked")
        self._show_choice()

    def _show_sides(self, *sides: int, is_new: bool = True) -> None:
        panes = list(self.query(VersionPane))
        for side in sides:
            index = self._shown[side]
            version = self._versions[index]
            panes[side].show(version, index + 1, len(self._versions), is_new=is_new)
        self._show_choice()

    def _follow(self) -> None:
        """Show the new text of a version that streams."""
        before = self._versions
        self._versions = list(map(self._refreshed, before))
        changed = [
            side for side, index in enumerate(self._shown) if self._versions[index] != before[index]
        ]
        if self.can_act and changed:
            self._show_sides(*changed, is_new=False)

    def _refreshed(self, version: ChatMessage) -> ChatMessage:
        return self._as_now(version) if version.state is AnswerState.STREAMING else version

    @property
    def _side(self) -> int:
        """The side that has the focus."""
        left, right = self.query(VersionPane)
        return 1 if right.has_focus_within and not left.has_focus_within else 0

    @on(events.DescendantFocus)
    def _show_choice(self) -> None:
        if not self.can_act:
            return
        names = ("top", "bottom") if self.has_class("-stacked") else ("left", "right")
        side = self._side
        hints = [("Enter", f"keep version {self._shown[side] + 1} ({names[side]})")]
        hints.append(("Tab", "other side"))
        if len(self._versions) > len(self._shown):
            hints.append(("← →", f"change {names[1]}"))
        hints.append(("PgUp PgDn", "scroll"))
        self.show_keys(hints)

    @on(ChatLog.ActionWanted)
    def _copy(self, event: ChatLog.ActionWanted) -> None:
        if event.text and event.name in ("copy", "copy_code"):
            self.app.copy_to_clipboard(event.text)

    def action_change(self, step: int) -> None:
        """Show another version on the right, past the one on the left."""
        left, right = self._shown
        count = len(self._versions)
        wanted = (right + step) % count
        if wanted == left:
            wanted = (wanted + step) % count
        self._shown[1] = wanted
        if wanted != right:
            self._show_sides(1)

    def action_fold(self) -> None:
        """Fold or unfold reasoning on the side that has the focus."""
        self.query(ChatLog)[self._side].action_message("fold")

    def action_keep(self) -> None:
        self.dismiss(self._versions[self._shown[self._side]].message_id)


def _figures(message: ChatMessage) -> list[str]:
    """Return how an answer ended, if not as usual, and its receipt; the time of a prompt."""
    if message.role is not Role.ASSISTANT:
        return [f"{message.created_at.astimezone():%H:%M}"]
    figures = []
    receipt = message.receipt
    if message.state is not AnswerState.COMPLETE:
        figures.append(message.state.value)
    elif receipt and receipt.ending:
        figures.append(safe_line(receipt.ending, limit=40))
    if receipt:
        figures += receipt_figures(receipt)
    return figures


def _without_receipt(message: ChatMessage) -> ChatMessage:
    """Return a version for a log that shows only its text; the rest is shown above it."""
    return replace(message, state=AnswerState.COMPLETE, receipt=None, model="", versions=1)
