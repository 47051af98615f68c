"""Figures of the chat screen: sidebar, status row and row of keys, from one snapshot."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from textual.timer import Timer

from lmchat.domain.server import Target, Verdict
from lmchat.domain.telemetry import Health
from lmchat.services.turn_stats import Speedometer
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import signs_for
from lmchat.tui.screens.chat.view import ChatView
from lmchat.tui.slash import is_command
from lmchat.tui.widgets.line import Part
from lmchat.tui.widgets.telemetry_rows import TelemetrySnapshot

_RUNNING_TICK_S = 1 / 3
"""Between two snapshots while a turn runs; figures do not read better at more."""
_WAITING_TICK_S = 1.0
"""The same with reduced motion."""


class Figures:
    """Shows what is measured; each widget draws only what changed."""

    def __init__(self, workspace: Workspace, view: ChatView, *, show_keys: Callable[[], None]) -> None:
        self.health = Health()
        self.speedometer = Speedometer()
        self.last_action = "looking for a server"
        self.left_out = 0
        """Messages that the next request would leave out."""
        self.list_warning = ""
        """Why the list of sessions is not up to date; empty where it is."""
        self._workspace = workspace
        self._open = workspace.open_sessions
        self._view = view
        self._show_keys = show_keys
        self.ticker: Timer | None = None

    def start(self) -> None:
        """Begin to tick where something moves."""
        pace_s = _WAITING_TICK_S if self._workspace.settings.ui.reduced_motion else _RUNNING_TICK_S
        self.ticker = self._view.screen.set_interval(pace_s, self.tick, pause=True)

    def show_health(self, health: Health) -> None:
        """Take what the monitor saw."""
        self.health = health
        self.refresh()

    def show_action(self, words: str) -> None:
        """Show what was done last."""
        self.last_action = words
        self.refresh()

    def refresh(self) -> None:
        """Show one snapshot in sidebar, status row and row of keys."""
        while self._workspace.notices:
            words = safe_line(self._workspace.notices.pop(0))
            self._view.screen.app.notify(words, severity="warning", markup=False)
        now_s = self._workspace.clock()
        self._view.telemetry.show(self._snapshot(now_s), now_s)
        self.show_status()
        self._show_keys()
        self._set_pace()

    def tick(self) -> None:
        """Show figures that change because time passes."""
        turn = self._open.shown.conversation.turn
        if turn is not None and turn.is_running:
            self._view.log.show_turn(turn, self._workspace.clock())
        self.refresh()

    def _set_pace(self) -> None:
        """Tick only while something moves by itself."""
        if self.ticker is None:
            return
        is_unsaved = self._open.save_queue.warning is not None  # it ends by itself when the disk is back
        if is_unsaved or self._open.streaming or self.health.is_down or self._loading_since_s() is not None:
            self.ticker.resume()
        else:
            self.ticker.pause()

    def _snapshot(self, now_s: float) -> TelemetrySnapshot:
        opened, backend = self._open, self._workspace.backend
        use, warning = opened.context_use(), opened.save_queue.warning
        turn = opened.shown.conversation.turn
        ended_s = turn.ended_s if turn else None
        return TelemetrySnapshot(
            health=self.health,
            turn=turn,
            context_tokens=use.tokens if use and opened.shown.conversation.messages else None,
            context_limit=use.limit if use else None,
            is_context_estimated=use is not None and use.is_estimated,
            left_out=self.left_out,
            metrics=backend.metrics(),
            budget=backend.budget(),
            last_action=self.last_action,
            loading_since_s=self._loading_since_s(),
            loading_fraction=opened.target.loading_fraction if opened.target else None,
            speeds=self.speedometer.values(now_s if ended_s is None else ended_s),
            next_check_s=self._workspace.monitor.next_look_s,
            warning=f"Nothing is saved: {warning.message} Ctrl+E exports what is shown."
            if warning
            else self.list_warning or self._workspace.warning,
        )

    def show_status(self) -> None:
        """Show server, model, and the estimate of what is typed."""
        opened = self._open
        target, use = opened.target, opened.context_use()
        draft_tokens = opened.meter.draft_tokens(target, self._typed())
        share = replace(use, tokens=use.tokens + draft_tokens).fraction if use else None
        turn = opened.shown.conversation.turn
        names = [self._model_name(target), str(target.product)] if target else ["looking for a server"]
        size = formatting.tokens(draft_tokens, is_estimated=True)
        drafted = f"{size}{formatting.GAP}tok" if draft_tokens else ""
        filled = formatting.percent(share) if share is not None else ""
        rate = formatting.rate(turn.tokens_per_second) if turn and turn.tokens_per_second else ""
        unsaved = "! not saved" if opened.save_queue.warning and not self._view.telemetry.display else ""
        between = f" {signs_for(self._view.prompt).dot} "
        self._view.prompt.status.show_state(
            self._dot(),
            names,
            between.join(part for part in (unsaved, drafted, filled) if part),
            between.join(part for part in (unsaved, rate, filled) if part),
        )

    def _typed(self) -> str:
        """Return what is typed as a message, which a command is not."""
        typed = self._view.prompt_input.full_text
        return "" if is_command(typed) else typed

    def _model_name(self, target: Target) -> str:
        if target.is_loading:
            since_s = self._loading_since_s()
            elapsed = "" if since_s is None else f" {formatting.ago(self._workspace.clock() - since_s)}"
            far = formatting.so_far(target.loading_fraction) or elapsed
            return f"loading {safe_line(target.model_id) or 'its model'}{far}"
        return safe_line(target.model_id) or "no model"

    def _loading_since_s(self) -> float | None:
        """Return since when the model is being loaded; None where it is not, or that is not known."""
        target = self._open.target
        if target is None or not target.is_loading:
            return None
        return self.health.since_s if target.loading_since_s is None else target.loading_since_s

    def _dot(self) -> Part:
        signs = signs_for(self._view.prompt)
        match self.health.verdict:
            case None:
                return signs.off, "$text-disabled"
            case Verdict.READY:
                return signs.ready, "$success"
            case Verdict.LOADING | Verdict.NO_MODEL:
                return signs.degraded, "$warning"
            case _:
                return signs.down, "$error"
