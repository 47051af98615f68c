"""Figures of the chat screen: telemetry panel, status line and running calls."""

from __future__ import annotations

from msgspec.structs import replace
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

from lmchat.domain.server import Target
from lmchat.domain.telemetry import Health
from lmchat.services.turn_stats import Speedometer
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.commands import is_command
from lmchat.tui.icons import icons_for
from lmchat.tui.messages import Post
from lmchat.tui.screens.chat.notices import Notices
from lmchat.tui.screens.chat.widgets import ChatWidgets
from lmchat.tui.widgets.telemetry_rows import TelemetrySnapshot, server_sign

_RUNNING_TICK_S = 1 / 3  # between two snapshots of a turn; figures do not read better at more
_WAITING_TICK_S = 1.0  # the same with reduced motion


class StatusRefreshed(Post):
    """The figures were updated; the row of keys may change with them."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StatusRefreshed)


class StatusDisplay:
    """Shows all figures from one snapshot, and keeps those that no service has."""

    def __init__(
        self, screen: Screen[None], workspace: Workspace, widgets: ChatWidgets, notices: Notices
    ) -> None:
        self.health = Health()
        self.speedometer = Speedometer()
        self.last_action = "looking for a server"
        self.left_out = 0  # messages that the next request would leave out
        self.list_warning = ""  # why the list of sessions is not up to date; empty if it is
        self._screen = screen
        self._workspace = workspace
        self._open_sessions = workspace.open_sessions
        self._next_turn = workspace.open_sessions.next_turn
        self._widgets = widgets
        self._notices = notices
        self._ticker: Timer | None = None

    def start(self) -> None:
        has_reduced_motion = self._workspace.settings.ui.reduced_motion
        pause_s = _WAITING_TICK_S if has_reduced_motion else _RUNNING_TICK_S
        self._ticker = self._screen.set_interval(pause_s, self.tick, pause=True)

    def show_health(self, health: Health) -> None:
        self.health = health
        self.refresh()

    def show_action(self, words: str) -> None:
        """Show what was done last."""
        self.last_action = words
        self.refresh()

    def tick(self) -> None:
        turn = self._open_sessions.shown.conversation.turn
        if turn is not None and turn.is_running:
            self._widgets.log.show_turn(turn, self._workspace.clock())
        self.refresh()

    def refresh(self) -> None:
        """Show one snapshot in panel, log, status line and row of keys."""
        while self._workspace.notices:
            self._notices.warn(self._workspace.notices.pop(0))
        now_s = self._workspace.clock()
        shown = self._open_sessions.shown
        is_on_top = self._screen.app.screen is self._screen
        calls = self._widgets.log.calls
        calls.show(shown.running_calls, shown.asked, now_s, is_on_top=is_on_top)
        self._widgets.telemetry.show(self._snapshot(now_s), now_s)
        self.show_line()
        self._screen.post_message(StatusRefreshed())
        if self._ticker is None:
            return
        if self._is_moving:
            self._ticker.resume()
        else:
            self._ticker.pause()

    @property
    def _is_moving(self) -> bool:
        """Whether the figures change with time, or without a key."""
        is_unsaved = self._open_sessions.save_queue.warning is not None
        is_loading = self._loading_since_s is not None
        return any((is_unsaved, self._open_sessions.streaming, self.health.is_down, is_loading))

    def _snapshot(self, now_s: float) -> TelemetrySnapshot:
        shown = self._open_sessions.shown
        conversation = shown.conversation
        next_turn = self._next_turn
        use = next_turn.context_use(conversation)
        turn = conversation.turn
        speeds_until_s = now_s if turn is None or turn.ended_s is None else turn.ended_s
        return TelemetrySnapshot(
            health=self.health,
            lacks_server=self._workspace.target_state.lacks_server,
            turn=turn,
            context_tokens=use.tokens if use and conversation.messages else None,
            context_limit=use.limit if use else None,
            is_context_estimated=use is not None and use.is_estimated,
            left_out=self.left_out,
            can_compact=use is not None and next_turn.can_compact(conversation),
            metrics=self._workspace.backend.metrics(),
            budget=self._workspace.backend.budget(),
            last_action=self.last_action,
            profile=next_turn.options.profile_name,
            has_tools=next_turn.has_tools(shown.session_id),
            is_asking=shown.asked is not None,
            loading_since_s=self._loading_since_s,
            loading_fraction=next_turn.target.loading_fraction if next_turn.target else None,
            speeds=self.speedometer.values(speeds_until_s),
            next_check_s=self._workspace.monitor.next_check_s,
            warning=self._warning,
        )

    @property
    def _warning(self) -> str:
        unsaved = self._open_sessions.save_queue.warning
        if unsaved is not None:
            return f"Nothing is saved: {unsaved.message} Press Ctrl+E to export this session."
        return self.list_warning or self._workspace.warning

    # The status line

    def show_line(self) -> None:
        """Show server, model, and the estimate of what is typed; a command counts for nothing."""
        typed = self._widgets.prompt_input.full_text
        draft_tokens = self._next_turn.draft_tokens("" if is_command(typed) else typed)
        size = formatting.tokens(draft_tokens, is_estimated=True)
        drafted = f"{size}{formatting.GAP}tok" if draft_tokens else ""
        filled = self._filled(draft_tokens)
        prompt = self._widgets.prompt
        icons = icons_for(prompt)
        dot = f" {icons.dot} "
        prompt.status.show_state(
            server_sign(self.health.verdict, icons),
            self._names(),
            dot.join(filter(None, (self._unsaved_words, drafted, filled))),
            dot.join(filter(None, (self._unsaved_words, self._rate(), filled))),
        )

    def _filled(self, draft_tokens: int) -> str:
        """Return the share of the context window that the next request takes."""
        use = self._next_turn.context_use(self._open_sessions.shown.conversation)
        if use is None:
            return ""
        share = replace(use, tokens=use.tokens + draft_tokens).fraction
        return "" if share is None else formatting.percent(share)

    def _rate(self) -> str:
        turn = self._open_sessions.shown.conversation.turn
        if turn is None or not turn.tokens_per_second:
            return ""
        return formatting.rate(turn.tokens_per_second)

    @property
    def _unsaved_words(self) -> str:
        if self._workspace.is_temporary:
            return "temporary"
        has_warning = self._open_sessions.save_queue.warning is not None
        return "! not saved" if has_warning and not self._widgets.telemetry.display else ""

    def _names(self) -> list[str]:
        target = self._next_turn.target
        if target is None:
            return ["looking for a server"]
        return [self._model_name(target), str(target.product)]

    def _model_name(self, target: Target) -> str:
        name = safe_line(target.model_id)
        if not target.is_loading:
            return name or "no model"
        since_s = self._loading_since_s
        elapsed = "" if since_s is None else f" {formatting.ago(self._workspace.clock() - since_s)}"
        return (
            f"loading {name or 'its model'}{formatting.so_far(target.loading_fraction) or elapsed}"
        )

    @property
    def _loading_since_s(self) -> float | None:
        target = self._next_turn.target
        if target is None or not target.is_loading:
            return None
        return self.health.since_s if target.loading_since_s is None else target.loading_since_s
