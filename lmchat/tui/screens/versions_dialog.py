"""Comparison of two versions of a message, beside or above each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widget import Widget

from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.machine.highlighter import Highlighter
from lmchat.text import safe_line
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.chat_log.layout.annotations import receipt_figures
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, content

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
        """Show a version from its start, or what has come of the shown one."""
        dot = f" {icons_for(self).dot} "
        model = dot + safe_line(message.model, limit=80) if message.model else ""
        self.query_one(".heading", LineWidget).show(
            [content(((f"Version {number} of {count}", STRONG), (model, MUTED)))]
        )
        figures = [(dot if index else "") + words for index, words in enumerate(_figures(message))]
        self.query_one(".figures", LineWidget).show(
            [content(((words, MUTED),)) for words in figures]
        )
        log, bare = self.query_one(ChatLog), _without_receipt(message)
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
        Binding("left", "change(-1)", show=False, priority=True),
        Binding("right", "change(1)", show=False, priority=True),
        Binding("enter", "keep", show=False, priority=True),
        Binding("space", "fold", show=False),
    ]

    def __init__(
        self,
        versions: Sequence[ChatMessage],
        message_id: str,
        as_now: Callable[[ChatMessage], ChatMessage],
        highlighter: Highlighter,
    ) -> None:
        """Show a version of at least two beside the one before it; `as_now` adds what has arrived since."""
        super().__init__()
        self._versions = list(versions)
        current = next(at for at, one in enumerate(versions) if one.message_id == message_id)
        self._shown = [current, current - 1 if current else 1]
        self._as_now = as_now
        self._highlighter = highlighter

    def compose_content(self) -> Iterable[Widget]:
        panes = VersionPane(self._highlighter), VersionPane(self._highlighter)
        yield Container(*panes, id="panes")

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_sides, 0, 1)  # the text starts where its size is known
        if any(one.state is AnswerState.STREAMING for one in self._versions):
            self.set_interval(_FOLLOW_S, self._follow)

    def on_resize(self) -> None:
        self.set_class(self.size.width < _BESIDE, "-stacked")
        self._show_choice()

    def _show_sides(self, *sides: int, is_new: bool = True) -> None:
        panes = list(self.query(VersionPane))
        for side in sides:
            at = self._shown[side]
            panes[side].show(self._versions[at], at + 1, len(self._versions), is_new=is_new)
        self._show_choice()

    def _follow(self) -> None:
        """Show what has arrived of a version that streams."""
        before, self._versions = (
            self._versions,
            [
                self._as_now(one) if one.state is AnswerState.STREAMING else one
                for one in self._versions
            ],
        )
        sides = [side for side, at in enumerate(self._shown) if self._versions[at] != before[at]]
        if self.can_act and sides:
            self._show_sides(*sides, is_new=False)

    @property
    def _side(self) -> int:
        """The side that has the focus."""
        return next(
            (at for at, pane in enumerate(self.query(VersionPane)) if pane.has_focus_within), 0
        )

    @on(events.DescendantFocus)
    def _show_choice(self) -> None:
        if not self.can_act:
            return
        names = ("top", "bottom") if self.has_class("-stacked") else ("left", "right")
        others = [("← →", f"change {names[1]}")] if len(self._versions) > len(self._shown) else []
        keep = f"keep version {self._shown[self._side] + 1} ({names[self._side]})"
        self.show_keys([("Enter", keep), ("Tab", "other side"), *others, ("PgUp PgDn", "scroll")])

    @on(ChatLog.ActionWanted)
    def _copy(self, event: ChatLog.ActionWanted) -> None:
        if event.text and event.name in ("copy", "copy_code"):
            self.app.copy_to_clipboard(event.text)

    def action_change(self, step: int) -> None:
        """Show another version on the right, past the one on the left."""
        left, right = self._shown
        around = [(right + step * by) % len(self._versions) for by in (1, 2)]
        self._shown[1] = next(at for at in around if at != left)
        if self._shown[1] != right:
            self._show_sides(1)

    def action_fold(self) -> None:
        """Fold or unfold reasoning on the side that has the focus."""
        self.query(ChatLog)[self._side].action_message("fold")

    def action_keep(self) -> None:
        self.dismiss(self._versions[self._shown[self._side]].message_id)


def _figures(message: ChatMessage) -> list[str]:
    """Return how an answer ended, unless it is complete, and its receipt; of a prompt, when it was sent."""
    if message.role is not Role.ASSISTANT:
        return [f"{message.created_at.astimezone():%H:%M}"]
    state = [] if message.state is AnswerState.COMPLETE else [message.state.value]
    receipt = message.receipt
    ending = (
        [safe_line(receipt.ending, limit=40)] if receipt and receipt.ending and not state else []
    )
    return [*state, *ending, *(receipt_figures(receipt) if receipt else ())]


def _without_receipt(message: ChatMessage) -> ChatMessage:
    """Return a version for a log that shows only its text: what else there is stands above it."""
    return replace(message, state=AnswerState.COMPLETE, receipt=None, model="", versions=1)
