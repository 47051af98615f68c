"""Widgets of the chat screen, the figures and notices in them, and its workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace
from textual.dom import DOMNode
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import Worker

from lmchat.domain.message import take_files
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Target
from lmchat.domain.telemetry import Health
from lmchat.errors import LMChatError
from lmchat.machine.highlighter import Highlighter
from lmchat.services.target_state import target_state
from lmchat.services.turn_stats import Speedometer
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.commands import is_command
from lmchat.tui.icons import icons_for
from lmchat.tui.quirks.driver import lend_terminal, remember_copied
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.line import LineWidget
from lmchat.tui.widgets.prompt import Prompt
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList
from lmchat.tui.widgets.telemetry_panel import TelemetryPanel
from lmchat.tui.widgets.telemetry_rows import TelemetrySnapshot, server_sign

Work = Callable[[], Awaitable[None]]

_RUNNING_TICK_S = (
    1 / 3
)  # between two snapshots while a turn runs; figures do not read better at more
_WAITING_TICK_S = 1.0  # the same with reduced motion
CANNOT_SEE = "This model cannot see images. Ctrl+O lists the models that can."
_AWAY, COPYING = (
    "away",
    "copy",
)  # groups of the worker that has lent the terminal, and of the one that copies


def begin_work(node: DOMNode, work: Work, name: str, *, is_only: bool = True) -> None:
    """Run a worker of the app or a screen; `is_only` cancels the earlier one of this name."""

    async def run() -> None:
        await work()

    _: Worker[None] = node.run_worker(run, name=name, group=name, exclusive=is_only)


class ChatView:
    """The widgets of the chat screen and what they show, from one snapshot of all figures."""

    def __init__(
        self, screen: Screen[None], workspace: Workspace, show_keys: Callable[[], None]
    ) -> None:
        self.screen = screen
        self.workspace = workspace
        self.session_list = SessionList()
        self.title_line = LineWidget(id="title")
        self.highlighter = Highlighter()
        self.log = ChatLog(highlighter=self.highlighter, id="log")
        self.prompt = Prompt()
        self.telemetry = TelemetryPanel(workspace.settings.ui.sections, id="telemetry")
        self.keys_row = KeysRow()
        self.is_leaving = False  # whether lmchat is quitting: nothing new begins
        self.health = Health()
        self.speedometer = Speedometer()
        self.last_action = "looking for a server"
        self.left_out = 0  # messages that the next request would leave out
        self.list_warning = ""  # why the list of sessions is not up to date; empty if it is
        self._open_sessions = workspace.open_sessions
        self._show_keys = show_keys
        self._ticker: Timer | None = None

    @property
    def prompt_input(self) -> PromptInput:
        return self.prompt.input

    @property
    def has_log_focus(self) -> bool:
        return self.screen.focused is self.log

    @property
    def has_unseen_image(self) -> bool:
        return self.is_unseen(self.prompt_input.full_text)

    def is_unseen(self, text: str) -> bool:
        """Whether a prompt has an image and the model cannot see."""
        target = self._open_sessions.next_turn.target
        is_blind = target is not None and target.model is not None and target.model.is_blind
        return is_blind and any(part.is_image for part in take_files(text)[1].values())

    @property
    def lacks_server(self) -> bool:
        """Whether the last look around found no server to use."""
        candidates = self.workspace.catalogue.candidates
        return target_state(self._open_sessions.next_turn.target, candidates).lacks_server

    # Notices, questions and workers

    def notify(self, words: str) -> None:
        """Show a notification; `words` have passed the filter."""
        self.screen.app.notify(words, markup=False)

    def warn(self, words: str) -> None:
        self.screen.app.notify(safe_line(words), severity="warning", markup=False)

    def tell(self, error: LMChatError) -> None:
        self.warn(error.words)

    async def ask(self, dialog: Screen[Any]) -> Any:
        """Show a dialog from a worker and return its result; None if the user left it."""
        return await self.screen.app.push_screen_wait(dialog)

    def copy(self, text: str, note: str = "") -> None:
        """Copy a text; `note` names the part of a message, as `Block 2 of 3`."""

        async def copy() -> None:
            try:
                words = safe_line(await self.workspace.platform.copy(text))
                self.notify(f"{note}: {words[:1].lower()}{words[1:]}" if note else words)
            except LMChatError as error:
                self.tell(error)

        remember_copied(self.screen.app, text)
        begin_work(self.screen.app, copy, COPYING)

    def attempt(self, work: Work, group: str = "library", *, typed: str = "") -> None:
        """Run a worker that may fail: its error is shown, and what was typed goes back into the prompt."""

        async def run() -> None:
            try:
                await work()
            except LMChatError as error:
                if typed and not self.prompt_input.text:
                    self.prompt_input.put(typed)
                self.tell(error)

        begin_work(self.screen, run, group, is_only=group == "open")

    def lend_terminal_to(self, work: Work) -> None:
        """Run another program on the terminal; a key pressed twice does not run two."""

        async def lent() -> None:
            with lend_terminal(self.screen.app):
                await work()

        if not any(one.group == _AWAY and not one.is_finished for one in self.screen.workers):
            self.attempt(lent, group=_AWAY)

    def remember(self, remembered: Remembered) -> None:
        self.workspace.remembered = remembered

        async def save() -> None:
            try:
                await self.workspace.platform.remember(remembered)
            except LMChatError as error:
                self.workspace.warning = error.message

        begin_work(self.screen.app, save, "remember")

    def close_find_bar(self) -> None:
        for bar in self.screen.query("FindBar"):
            bar.display = False
        if self.log.finder.is_active:
            self.log.finder.clear()

    def focus_card(self) -> None:
        """Focus the card that asks, unless the user is typing, or reads what is farther up."""
        is_idle = self.screen.focused is self.prompt_input and not self.prompt_input.text
        if is_idle and self.log.viewport.is_following:
            self.log.show_message(self.log.calls.card_id)

    def leave_card(self) -> None:
        """Give the focus back to the prompt, and follow the end."""
        self.screen.set_focus(self.prompt_input)
        self.log.scroll_end()

    # Figures

    def start(self) -> None:
        pace_s = _WAITING_TICK_S if self.workspace.settings.ui.reduced_motion else _RUNNING_TICK_S
        self._ticker = self.screen.set_interval(pace_s, self.tick, pause=True)

    def show_health(self, health: Health) -> None:
        self.health = health
        self.refresh()

    def show_action(self, words: str) -> None:
        self.last_action = words
        self.refresh()

    def tick(self) -> None:
        turn = self._open_sessions.shown.conversation.turn
        if turn is not None and turn.is_running:
            self.log.show_turn(turn, self.workspace.clock())
        self.refresh()

    def refresh(self) -> None:
        """Show one snapshot in sidebar, status row and row of keys; tick only while something moves."""
        while self.workspace.notices:
            self.warn(self.workspace.notices.pop(0))
        now_s, opened = self.workspace.clock(), self._open_sessions
        shown, is_on_top = opened.shown, self.screen.app.screen is self.screen
        self.log.calls.show(shown.running_calls, shown.asked, now_s, is_on_top=is_on_top)
        self.telemetry.show(self._snapshot(now_s), now_s)
        self.show_status()
        self._show_keys()
        is_unsaved = (
            opened.save_queue.warning is not None
        )  # it ends without a key when the disk is back
        is_moving = (
            is_unsaved
            or opened.streaming
            or self.health.is_down
            or self._loading_since_s is not None
        )
        if self._ticker is not None:
            (self._ticker.resume if is_moving else self._ticker.pause)()

    def _snapshot(self, now_s: float) -> TelemetrySnapshot:
        opened, backend = self._open_sessions, self.workspace.backend
        use, warning = (
            opened.next_turn.context_use(opened.shown.conversation),
            opened.save_queue.warning,
        )
        turn = opened.shown.conversation.turn
        ended_s = turn.ended_s if turn else None
        return TelemetrySnapshot(
            health=self.health,
            lacks_server=self.lacks_server,
            turn=turn,
            context_tokens=use.tokens if use and opened.shown.conversation.messages else None,
            context_limit=use.limit if use else None,
            is_context_estimated=use is not None and use.is_estimated,
            left_out=self.left_out,
            can_compact=use is not None and opened.next_turn.can_compact(opened.shown.conversation),
            metrics=backend.metrics(),
            budget=backend.budget(),
            last_action=self.last_action,
            profile=opened.next_turn.options.profile_name,
            has_tools=opened.next_turn.has_tools(opened.shown.session_id),
            is_asking=opened.shown.asked is not None,
            loading_since_s=self._loading_since_s,
            loading_fraction=opened.next_turn.target.loading_fraction
            if opened.next_turn.target
            else None,
            speeds=self.speedometer.values(now_s if ended_s is None else ended_s),
            next_check_s=self.workspace.monitor.next_look_s,
            warning=f"Nothing is saved: {warning.message} Press Ctrl+E to export this session."
            if warning
            else self.list_warning or self.workspace.warning,
        )

    def show_status(self) -> None:
        """Show server, model, and the estimate of what is typed, which a command does not count for."""
        opened, typed = self._open_sessions, self.prompt_input.full_text
        target, use, turn = (
            opened.next_turn.target,
            opened.next_turn.context_use(opened.shown.conversation),
            opened.shown.conversation.turn,
        )
        text, files = take_files("" if is_command(typed) else typed)
        draft_tokens = opened.next_turn.meter.draft_tokens(target, text) + sum(
            part.tokens for part in files.values()
        )
        share = replace(use, tokens=use.tokens + draft_tokens).fraction if use else None
        names = (
            [self._model_name(target), str(target.product)] if target else ["looking for a server"]
        )
        size = formatting.tokens(draft_tokens, is_estimated=True)
        drafted = f"{size}{formatting.GAP}tok" if draft_tokens else ""
        filled = formatting.percent(share) if share is not None else ""
        rate = formatting.rate(turn.tokens_per_second) if turn and turn.tokens_per_second else ""
        unsaved = "! not saved" if opened.save_queue.warning and not self.telemetry.display else ""
        if self.workspace.is_temporary:
            unsaved = "temporary"
        icons = icons_for(self.prompt)
        dot = f" {icons.dot} "
        wide, narrow = (
            dot.join(filter(None, (unsaved, figure, filled))) for figure in (drafted, rate)
        )
        self.prompt.status.show_state(server_sign(self.health.verdict, icons), names, wide, narrow)

    def _model_name(self, target: Target) -> str:
        name, since_s = safe_line(target.model_id), self._loading_since_s
        if not target.is_loading:
            return name or "no model"
        elapsed = "" if since_s is None else f" {formatting.ago(self.workspace.clock() - since_s)}"
        return (
            f"loading {name or 'its model'}{formatting.so_far(target.loading_fraction) or elapsed}"
        )

    @property
    def _loading_since_s(self) -> float | None:
        target = self._open_sessions.next_turn.target
        if target is None or not target.is_loading:
            return None
        return self.health.since_s if target.loading_since_s is None else target.loading_since_s
