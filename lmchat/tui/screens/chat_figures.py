"""The figures of the chat screen: sidebar, status, row of keys, from one snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from textual import events, on

from lmchat.domain.server import Target, Verdict
from lmchat.domain.telemetry import Health
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.commands import BY_ID, keys_of
from lmchat.tui.icons import signs_for
from lmchat.tui.screens.chat_parts import ChatParts
from lmchat.tui.slash import is_command
from lmchat.tui.widgets.key_names import written
from lmchat.tui.widgets.keys_row import Hint
from lmchat.tui.widgets.line import Part
from lmchat.tui.widgets.telemetry_rows import TelemetrySnapshot

RUNNING_TICK_S = 1 / 3
"""Between two snapshots while a turn runs; figures do not read better at more."""
WAITING_TICK_S = 1.0
"""The same where only a countdown moves."""


class ChatFigures(ChatParts):
    """Shows what is measured; each widget draws only what changed."""

    def show_health(self, health: Health) -> None:
        """Take what the monitor saw."""
        self.health = health
        self.refresh_figures()

    def show_action(self, words: str) -> None:
        """Tell what was done last."""
        self.last_action = words
        self.refresh_figures()

    def tick(self) -> None:
        """Show figures that change because time passes."""
        turn = self.open_sessions.shown.conversation.turn
        if turn is not None and turn.is_running:
            self.log_view.show_turn(turn, self.workspace.clock())
        self.refresh_figures()

    def refresh_figures(self) -> None:
        """Show one snapshot in sidebar, status and keys; each draws only what changed."""
        while self.workspace.notices:
            self.app.notify(safe_line(self.workspace.notices.pop(0)), severity="warning", markup=False)
        now_s = self.workspace.clock()
        self.telemetry.show(self._snapshot(now_s), now_s)
        self._show_status()
        self.show_keys()
        self._set_pace()

    def _set_pace(self) -> None:
        """Tick only while something moves by itself."""
        if self._ticker is None:
            return
        is_unsaved = (
            self.open_sessions.save_queue.warning is not None
        )  # it ends by itself when the disk is back
        if (
            is_unsaved
            or self.open_sessions.streaming
            or self.health.is_down
            or self._loading_since_s() is not None
        ):
            self._ticker.resume()
        else:
            self._ticker.pause()

    def _snapshot(self, now_s: float) -> TelemetrySnapshot:
        use = self.open_sessions.context_use()
        warning = self.open_sessions.save_queue.warning
        turn = self.open_sessions.shown.conversation.turn
        ended_s = turn.ended_s if turn else None
        return TelemetrySnapshot(
            health=self.health,
            turn=turn,
            context_tokens=use.tokens if use and self.open_sessions.shown.conversation.messages else None,
            context_limit=use.limit if use else None,
            is_context_estimated=use is not None and use.is_estimated,
            left_out=self._left_out,
            metrics=self.workspace.backend.metrics(),
            budget=self.workspace.backend.budget(),
            last_action=self.last_action,
            loading_since_s=self._loading_since_s(),
            loading_fraction=self.open_sessions.target.loading_fraction
            if self.open_sessions.target
            else None,
            speeds=self.speedometer.values(now_s if ended_s is None else ended_s),
            next_check_s=self.workspace.monitor.next_look_s,
            warning=f"Nothing is saved: {warning.message} Ctrl+E exports what is shown."
            if warning
            else self._list_warning or self.workspace.warning,
        )

    def _show_status(self) -> None:
        target = self.open_sessions.target
        use = self.open_sessions.context_use()
        conversation = self.open_sessions.shown.conversation
        draft_tokens = self.open_sessions.meter.draft_tokens(target, self._typed())
        share = replace(use, tokens=use.tokens + draft_tokens).fraction if use else None
        turn = conversation.turn
        names = [self._model_name(target), str(target.product)] if target else ["looking for a server"]
        size = formatting.tokens(draft_tokens, is_estimated=True)
        drafted = f"{size}{formatting.GAP}tok" if draft_tokens else ""
        filled = formatting.percent(share) if share is not None else ""
        rate = formatting.rate(turn.tokens_per_second) if turn and turn.tokens_per_second else ""
        unsaved = (
            "! not saved" if self.open_sessions.save_queue.warning and not self.telemetry.display else ""
        )
        between = f" {signs_for(self).dot} "
        self.prompt.status.show_state(
            self._dot(),
            names,
            between.join(part for part in (unsaved, drafted, filled) if part),
            between.join(part for part in (unsaved, rate, filled) if part),
        )

    def _typed(self) -> str:
        """Return what stands in the prompt to be said."""
        typed = self.prompt_input.full_text
        return "" if is_command(typed) else typed

    def _model_name(self, target: Target) -> str:
        """Return the model, or what stands in for it."""
        if target.is_loading:
            since_s = self._loading_since_s()
            elapsed = "" if since_s is None else f" {formatting.ago(self.workspace.clock() - since_s)}"
            far = formatting.so_far(target.loading_fraction) or elapsed
            return f"loading {safe_line(target.model_id) or 'its model'}{far}"
        return safe_line(target.model_id) or "no model"

    def _loading_since_s(self) -> float | None:
        """Return since when the model is being loaded; None where it is not, or nobody knows."""
        target = self.open_sessions.target
        if target is None or not target.is_loading:
            return None
        return self.health.since_s if target.loading_since_s is None else target.loading_since_s

    def _dot(self) -> Part:
        """Sign and colour of the server's state."""
        signs = signs_for(self)
        match self.health.verdict:
            case None:
                return signs.off, "$text-disabled"
            case Verdict.READY:
                return signs.ready, "$success"
            case Verdict.LOADING | Verdict.NO_MODEL:
                return signs.degraded, "$warning"
            case _:
                return signs.down, "$error"

    def hint(self, command_id: str) -> Hint:
        """Return the first key of a command, as configured, and what it does."""
        command = BY_ID[command_id]
        keys = keys_of(command, self.workspace.settings.keys)
        return written(keys.partition(",")[0]), command.label

    def show_keys(self) -> None:
        """Show what the keys do now; a message has more of them than words have room."""
        has_bare = self.focused is self.log_view and self.log_view.selection.selected is None
        self.keys_row.show(self._hints(), (self.hint("commands"), self.hint("help")), has_bare=has_bare)

    def _hints(self) -> Sequence[Hint]:
        """What the keys do now; here nothing has keys yet, `ChatScreen` says what its own do."""
        return ()

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def show_hints(self) -> None:
        """Let the row of keys follow the focus."""
        self.call_later(self.refresh_figures)
