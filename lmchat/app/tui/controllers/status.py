"""Stats on the chat screen: telemetry panel, status line, and the rows below a running answer."""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from lmchat.app.commands.table import BY_ID
from lmchat.app.tui.chat_log.greeting import LOOKING as GREETING_WHILE_LOOKING
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.key_bar import command_hint, written
from lmchat.app.tui.widgets.line import SIGN_STYLES
from lmchat.app.tui.widgets.prompt_area import StatusLine
from lmchat.app.tui.widgets.telemetry_rows import (
    LOOKING,
    PanelFacts,
    health_in_turn,
    panel_sections,
    search_word,
    server_sign,
)
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.core.chat.context import ContextUse
from lmchat.core.servers.discovery.status import ServerHealth, ServerState
from lmchat.core.servers.model import LoadState, name_and_address, name_to_show
from lmchat.core.servers.target import Target

_TICK_S = 1.0  # between updates while stats change
_SHOWN_S = 31  # whole seconds in the curve of the panel


class Speedometer:
    """Counter of tokens by second of the monotonic clock, for the curve of the panel."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def restart(self) -> None:
        self._counts.clear()

    def count(self, now_s: float, tokens: int) -> None:
        self._counts[int(now_s)] += tokens

    def values(self, now_s: float) -> tuple[float, ...]:
        """Return the tokens of each complete second since the first token, oldest first."""
        running_second = int(now_s)
        oldest_second = running_second - _SHOWN_S
        first_second = max(min(self._counts, default=running_second), oldest_second)
        return tuple(float(self._counts[second]) for second in range(first_second, running_second))


class StatusDisplay:
    """Shows all stats, and keeps those that no service has.

    Controllers do not call `refresh`: apart from frames of an answer and pauses while typing,
    `Dispatcher` calls it for the message `ShowChanges`, which is posted:

    - after each message that `Dispatcher.receive` has acted on, except those of `_SHOWN_ALREADY`;
    - after each event of a turn that `TurnView` shows, except a piece of text or of a tool call;
    - at each end of a worker of `ScreenServices.start`;
    - by the timer, while no text flows, and when a dialog above the screen is left;
    - by work that continues after a change, with `show_changes` or `show_action`.
    """

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui
        self._workspace = ui.workspace
        self._chat = ui.workspace.chat
        self.speedometer = Speedometer()
        self._shown_store_notice = ""  # that was shown last
        # `refresh` resumes it while stats change
        self._ticker = ui.screen.set_interval(_TICK_S, self.tick, pause=True)

    @property
    def health(self) -> ServerHealth:
        """Return the health as the monitor and the turns of all sessions know it."""
        health = self._workspace.monitor.health
        for session in (*self._chat.open_sessions.running, self._chat.active):
            health = health_in_turn(health, session.stats)
        return health

    def tick(self) -> None:
        """Update stats; while text flows, with its next frame."""
        if not self._ui.widgets.log.inflow.show_with_frame(self._show_stats):
            self._show_stats_of_answer()
            self._ui.show_changes()  # has `refresh` called, and running tool calls shown

    def _show_stats(self) -> None:
        self._show_stats_of_answer()
        self.refresh()

    def _show_stats_of_answer(self) -> None:
        session = self._chat.active
        stats = session.stats
        if stats is not None and stats.is_running:
            hint = ""
            if session.turn.can_answer_now:
                # that ends a thought, and what it does
                hint = f"{self._ui.key_name('now')} {BY_ID['now'].label}"
            # a copy: the turn changes its stats in place
            self._ui.widgets.log.show_stats(replace(stats), self._workspace.clock(), hint)

    def refresh(self) -> None:
        """Show panel and status line, and a new notice of the store.

        The timer runs while stats change without a key.
        """
        # of the file, in a temporary chat too; any reading may find damage
        notice = self._workspace.stats_store.database.notice
        if notice != self._shown_store_notice:
            self._shown_store_notice = notice
            self._ui.warn(notice)
        save_error = self._chat.save_queue.warning
        warning = self._ui.warning
        if save_error is not None:
            key = self._ui.key_name("export")
            warning = f"Nothing is saved: {save_error.message} Press {key} to export this session."
        self._ui.widgets.telemetry.show(lambda: panel_sections(self._panel_facts()), warning)
        self.show_line()
        # a blink paints the row twice a second, between the frames of the answer
        self._ui.widgets.prompt_input.let_cursor_blink(is_on=not self._chat.active.is_running)
        self._ui.widgets.log.greet(self._greeting())
        is_loading = self._is_loading
        is_reading = self._chat.read_ahead.fraction is not None
        is_answering = bool(self._chat.open_sessions.running_ids)
        is_failing = save_error is not None or self.health.is_down
        if is_failing or is_loading or is_reading or is_answering:
            self._ticker.resume()
        else:
            self._ticker.pause()

    def _panel_facts(self) -> PanelFacts:
        now_s = self._workspace.clock()
        session = self._chat.active
        turn_options = self._chat.turn_options
        backend = self._workspace.backend
        use = self._use_with_draft()
        draft = self._draft
        is_edit = bool(self._ui.widgets.prompt_input.prompt.edited_id)
        target = turn_options.target
        next_check_s = self._workspace.monitor.next_check_s if self.health.is_down else None
        return PanelFacts(
            health=self.health,
            server_name=self._server_name,
            search=self._workspace.chat_state,
            now_s=now_s,
            loading=f"loading{self._progress(target)}"
            if target and turn_options.is_loading
            else "",
            profile=turn_options.layers.profile_name,
            # of a new session, only the size of the window is known
            used=use.tokens if use and (session.messages or draft) else None,
            limit=use.limit if use else None,
            is_estimated=use is not None and use.is_estimated,
            left_out=self._ui.widgets.log.left_out,
            # an edited text may leave out what fills the window
            can_compact=not is_edit
            and self._chat.context_window.can_compact(
                session, draft, left_out=self._ui.widgets.log.left_out
            ),
            stats=session.stats,
            speeds=self._speeds(now_s),
            is_asking=session.question is not None,
            is_summarising=session.aside is not None,
            read_ahead=self._chat.read_ahead.fraction,
            metrics=backend.counters.metrics,
            rate_limit=backend.rate_limit(),
            has_tools=bool(turn_options.tools(session.session_id)),
            last_action=self._ui.last_action,
            next_check_in_s=None if next_check_s is None else next_check_s - now_s,
        )

    @property
    def _draft(self) -> str:
        """What is typed; a command, or a word that may become one, counts as an empty draft."""
        prompt_input = self._ui.widgets.prompt_input
        typed = prompt_input.full_text
        if prompt_input.prompt.edited_id:
            return typed
        may_be_command = typed.startswith("/") and len(typed.split()) == 1
        return "" if may_be_command or prompt_input.typed_command else typed

    def _use_with_draft(self) -> ContextUse | None:
        """Return how much of the window session and draft take; None while messages are unread.

        An edited text takes the place of its message and all behind it. A request that leaves
        messages out fills the window, whatever the server has counted of an earlier one.
        """
        window = self._chat.context_window
        use = window.context_use(self._chat.active, self._ui.widgets.prompt_input.prompt.edited_id)
        draft_tokens = window.draft_tokens(self._draft)
        if use is None:
            return None
        tokens = use.tokens + draft_tokens
        if self._ui.widgets.log.left_out and use.limit:
            tokens = max(draft_tokens, use.limit)
        return replace(use, tokens=tokens, is_estimated=use.is_estimated or tokens != use.tokens)

    def _speeds(self, now_s: float) -> tuple[float, ...]:
        """Return the speed in each of the last seconds; after a turn, in its last ones."""
        stats = self._chat.active.stats
        return self.speedometer.values(
            now_s if stats is None or stats.ended_s is None else stats.ended_s
        )

    # The status line

    def show_line(self) -> None:
        """Show state, model and server in the prompt's last row, and stats at its right."""
        session = self._chat.active
        draft_tokens = self._chat.context_window.draft_tokens(self._draft)
        use = self._use_with_draft()
        share = None
        empty_window = ""
        if use is not None and (session.messages or draft_tokens):
            share = use.fraction
        elif use is not None and use.limit:
            empty_window = f"{units.window(use.limit)} window"
        stats = session.stats
        saving = "! not saved" if self._chat.save_queue.warning else ""
        if self._workspace.is_temporary:  # never saved
            saving = "temporary"
        is_running = stats is not None and stats.is_running
        sign = server_sign(self.health.status)
        if self._chat.turn_options.is_loading:
            sign = units.SIGNS.degraded, SIGN_STYLES[units.SIGNS.degraded]
        self._ui.widgets.prompt_area.status.line = StatusLine(
            sign=sign,
            state=self._state(),
            model=self._model_name(),
            server=self._server_name,
            saving=saving,
            draft_tokens=draft_tokens,
            speed=stats.tokens_per_second if stats is not None and is_running else None,
            speeds=self._speeds(self._workspace.clock()) if is_running else (),
            share=share,
            window=empty_window,
        )

    def _state(self) -> str:
        """Return the state in a word or two; "" if it is ready."""
        target = self._chat.turn_options.target
        status = self.health.status
        if target is None:
            state = self._workspace.chat_state
            if state is ServerState.NO_MODEL:
                return "no model"
            return LOOKING if state is None else f"server {search_word(state)}"
        if self._chat.turn_options.is_loading:
            return f"loading{self._progress(target)}"
        if status is None or status.state is ServerState.READY:
            return ""
        if status.state is ServerState.NO_MODEL and target.model_id:
            return "not loaded"  # the greeting would contradict `no model`
        return status.meaning.panel[0]

    @property
    def _server_name(self) -> str:
        """Return the name of the server in use, with the address if another one has it, too."""
        if (target := self._chat.turn_options.target) is None:
            return ""
        known = self._workspace.finder.servers
        names = {one.endpoint: one.label for one in known if one.is_model_server}
        name = names.pop(target.endpoint, target.server_name)
        address = target.endpoint.netloc if name in names.values() else ""
        return safe_line(name_and_address(name, address))

    def _model_name(self) -> str:
        target = self._chat.turn_options.target
        if target is None:
            return ""
        if not target.model_id:
            return "" if self._state() else "no model"
        sign = f"{units.SIGNS.remote} " if target.is_remote else ""
        return f"{sign}{name_to_show(target.model_id)}"

    @property
    def _is_loading(self) -> bool:
        """Whether the model is being loaded, by lmchat or by the server itself."""
        model = self.health.model
        status = self.health.status
        return (
            self._workspace.chat_state is ServerState.LOADING
            or (status is not None and status.state is ServerState.LOADING)
            or (model is not None and model.state is LoadState.LOADING)
        )

    def _greeting(self) -> tuple[tuple[str, str], ...]:
        """Say in an empty chat whether it can start, and else the next step."""
        target = self._chat.turn_options.target
        state = self._workspace.chat_state
        keys = self._workspace.settings.keys
        model_key, check_key = (written(command_hint(name, keys)[0]) for name in ("model", "check"))
        if self.health.is_down or state is ServerState.AWAY:
            subject = "No server answers"
            if target is not None:
                subject = f"{self._server_name} does not answer"
            return ((f"{subject}. {check_key} checks again.", ""),)
        if state is ServerState.NEEDS_KEY:
            return ((f"The server needs an API key. {model_key} shows the servers.", ""),)
        if state is None:
            return GREETING_WHILE_LOOKING
        model = name_to_show(target.model_id) if target is not None else ""
        name = (model, "name strong") if model else ("The model", "")
        if target is not None and self._is_loading:
            progress = self._progress(target).strip()
            return name, (f" is loading{progress and ', '}{progress}.", "")
        if target is None or not model:
            return ((f"No model is loaded. {model_key} chooses one.", ""),)
        listed = {
            known.model_id
            for server in self._workspace.finder.servers
            if server.endpoint == target.endpoint
            for known in server.models
        }
        if listed and target.model_id not in listed:
            return name, (" is not listed.", ""), (" The next prompt tries it.", "muted")
        return name, (" is ready.", ""), (" Type a message and press Enter.", "muted")

    def _progress(self, target: Target) -> str:
        """Return how much of a model is loaded, as ` 40 %`, or how long it has loaded, as ` 12 s`.

        For a load that lmchat did not start, the time counts from the first check that found the
        server in its present state.
        """
        load = self._workspace.backend.model_lists.load_of(target.model)
        if load is not None and load.fraction:
            return units.progress_suffix(load.fraction)
        since_s = load.since_s if load is not None else self.health.since_s
        return "" if since_s is None else f" {units.rough_time(self._workspace.clock() - since_s)}"
