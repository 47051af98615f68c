"""The chat screen's parts and how they are kept up to date; what keys do is built on top of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Horizontal, Vertical
from textual.getters import query_one
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import Worker

from lmchat.domain.message import Role
from lmchat.domain.server import Verdict
from lmchat.domain.telemetry import Health
from lmchat.errors import LMChatError
from lmchat.safe_text import safe_line
from lmchat.services.library import SessionGroup, with_unsaved
from lmchat.services.speedometer import Speedometer
from lmchat.services.workspace import Workspace
from lmchat.tui import figures
from lmchat.tui.commands import BY_ID, Scope, bindings
from lmchat.tui.quirks.compositor import paint_frugally
from lmchat.tui.signs import signs_for
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.find_bar import FindBar
from lmchat.tui.widgets.key_names import written
from lmchat.tui.widgets.keys_row import Hint, KeysRow
from lmchat.tui.widgets.line import STRONG, Line, Part, content
from lmchat.tui.widgets.pill import Pill
from lmchat.tui.widgets.prompt import Prompt
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList
from lmchat.tui.widgets.telemetry_panel import TelemetryPanel
from lmchat.tui.widgets.telemetry_rows import TelemetrySnapshot

RUNNING_TICK_S = 0.25
"""Between two snapshots while a turn runs; figures do not read better at more."""
WAITING_TICK_S = 1.0
"""The same where only a countdown moves."""
MARK_AFTER_S = 0.3
"""From a key to the look at what would be left out: it goes over the whole session."""
_TITLE = "New session"


class ChatBase(Screen[None]):
    """Three columns and a row of keys; knows the workspace and shows what is on its desk."""

    AUTO_FOCUS = "PromptInput"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    sessions = query_one(SessionList)
    log_view = query_one(ChatLog)
    prompt = query_one(Prompt)
    prompt_input = query_one(PromptInput)
    find_bar = query_one(FindBar)
    telemetry = query_one(TelemetryPanel)
    keys_row = query_one(KeysRow)
    title_line = query_one("#title", Line)

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        paint_frugally(self)
        self.workspace = workspace
        self.desk = workspace.desk
        self.health = Health()
        self.last_action = "looking for a server"
        self.speedometer = Speedometer()
        self.is_leaving = False
        """Whether lmchat is being left: nothing is begun any more."""
        self._ticker: Timer | None = None
        self._marker: Timer | None = None
        self._left_out = 0
        self._list_warning = ""
        self._groups: tuple[SessionGroup, ...] = ()

    def compose(self) -> ComposeResult:
        """Sessions, chat, telemetry; below them the keys."""
        self.add_class(*self._first_classes())
        with Horizontal(id="body"):
            yield SessionList()
            with Vertical(id="chat"):
                with Center(id="title-row"):
                    yield Line(id="title")
                yield ChatLog(id="log")
                yield FindBar()
                yield Prompt()
            yield TelemetryPanel(self.workspace.settings.ui.sections, id="telemetry")
        yield KeysRow()

    def on_mount(self) -> None:
        """Show an empty session; what comes from the disk follows after the first paint."""
        self._ticker = self.set_interval(RUNNING_TICK_S, self.tick, pause=True)
        self.show_conversation()

    def _first_classes(self) -> list[str]:
        """Return the classes of size and panels: set before the first styles are made, they cost nothing."""
        app, remembered = self.app, self.workspace.remembered
        wide = [name for least, name in app.HORIZONTAL_BREAKPOINTS or [] if self.app.size.width >= least]
        tall = [name for least, name in app.VERTICAL_BREAKPOINTS or [] if self.app.size.height >= least]
        classes = [*wide[-1:], *tall[-1:]]
        if not remembered.has_sessions:
            classes.append("-sessions-hidden")
        if not (remembered.has_telemetry and self.workspace.settings.ui.sidebar):
            classes.append("-telemetry-hidden")
        return classes

    @property
    def conversation_id(self) -> str:
        """Id of the session that is shown."""
        return self.desk.shown.conversation.header.session_id

    def show_session(self) -> None:
        """Show the session that lies on the desk."""
        self.show_conversation()
        self.show_queue()
        self.show_sessions()

    def show_conversation(self) -> None:
        """Show its messages, title and figures."""
        conversation = self.desk.shown.conversation
        self.log_view.load(conversation.shown_messages)
        self.mark_left_out()
        self.show_title()
        self.refresh_figures()

    def show_title(self) -> None:
        """Show the title of the session."""
        title = safe_line(self.desk.shown.conversation.header.title) or _TITLE
        self.title_line.show([content(((title, STRONG),))])

    def show_queue(self) -> None:
        """Show what waits above the prompt."""
        entries = [(queued.text, queued.is_held) for queued in self.desk.shown.queue]
        self.begin_work(lambda: self.prompt.show_queue(entries), "queue")

    def show_sessions(self) -> None:
        """Fetch the list of sessions anew."""
        self.begin_work(self._list_sessions, "library")

    def begin_work(self, work: Callable[[], Awaitable[None]], name: str, *, is_only: bool = True) -> None:
        """Run something behind the screen; `is_only` ends what was begun under this name before."""

        async def run() -> None:
            await work()

        _: Worker[None] = self.run_worker(run, name=name, group=name, exclusive=is_only)

    async def _list_sessions(self) -> None:
        try:
            self._groups = await self.workspace.library.groups()
            self._list_warning = ""
        except LMChatError as error:
            self._list_warning = f"{error.message} {error.hint}"
            self.refresh_figures()
        self.sessions.show(
            with_unsaved(self._groups, self.desk.unsaved()),
            self.conversation_id,
            self.desk.streaming,
            self.desk.unread,
        )

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
        turn = self.desk.shown.conversation.turn
        if turn is not None and turn.is_running:
            self.log_view.show_turn(turn, self.workspace.clock())
        self.refresh_figures()

    def refresh_figures(self) -> None:
        """Show one snapshot in sidebar, status and keys; each draws only what changed."""
        now_s = self.workspace.clock()
        self.telemetry.show(self._snapshot(now_s), now_s)
        self._show_status()
        self.keys_row.show(self._hints(), (self.hint("commands"), self.hint("help")))
        self._set_pace()

    def _set_pace(self) -> None:
        """Tick only while something moves by itself."""
        if self._ticker is None:
            return
        if self.desk.streaming or self.health.is_down:
            self._ticker.resume()
        else:
            self._ticker.pause()

    def _snapshot(self, now_s: float) -> TelemetrySnapshot:
        use = self.desk.context_use()
        warning = self.desk.keeper.warning
        turn = self.desk.shown.conversation.turn
        ended_s = turn.ended_s if turn else None
        return TelemetrySnapshot(
            health=self.health,
            turn=turn,
            context_tokens=use.tokens if self.desk.shown.conversation.messages else None,
            context_limit=use.limit,
            is_context_estimated=use.is_estimated,
            left_out=self._left_out,
            metrics=self.workspace.backend.metrics(),
            budget=self.workspace.backend.budget(),
            last_action=self.last_action,
            speeds=self.speedometer.values(now_s if ended_s is None else ended_s),
            next_check_s=self.workspace.monitor.next_look_s,
            warning=f"Nothing is saved: {warning.message} Ctrl+E exports what is shown."
            if warning
            else self._list_warning or self.workspace.warning,
        )

    def _show_status(self) -> None:
        target = self.desk.target
        use = self.desk.context_use()
        draft = self.desk.meter.draft_tokens(target, self.prompt_input.full_text)
        share = use.fraction
        turn = self.desk.shown.conversation.turn
        names = (
            [safe_line(target.model_id) or "no model", str(target.product)]
            if target
            else ["looking for a server"]
        )
        drafted = figures.tokens(draft, is_estimated=True) + f"{figures.GAP}tok" if draft else ""
        filled = figures.percent(share) if share is not None else ""
        rate = figures.rate(turn.tokens_per_second) if turn and turn.tokens_per_second else ""
        unsaved = "! not saved" if self.desk.keeper.warning and not self.telemetry.display else ""
        between = f" {signs_for(self).dot} "
        self.prompt.status.show_state(
            self._dot(),
            names,
            between.join(part for part in (unsaved, drafted, filled) if part),
            between.join(part for part in (unsaved, rate, filled) if part),
        )

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

    def mark_left_out(self) -> None:
        """Mark in the log what would be left out of the next request, before it is sent."""
        plan = self.desk.plan(self.prompt_input.full_text)
        first = next((one for one in plan.messages if one.role is not Role.SYSTEM), None) if plan else None
        self._marker = None
        self._left_out = plan.left_out if plan else 0
        self.log_view.mark_left_out(self._left_out, first.message_id if first else None)

    def hint(self, command_id: str) -> Hint:
        """Return the first key of a command, as configured, and what it does."""
        command = BY_ID[command_id]
        keys = self.workspace.settings.keys.get(command_id) or command.keys
        return written(keys.partition(",")[0]), command.label

    def _hints(self) -> Sequence[Hint]:
        """What the keys do now: Esc first while a turn runs, a message's keys while one has the focus."""
        raise NotImplementedError

    @on(ChatLog.NewLines)
    def show_pill(self, event: ChatLog.NewLines) -> None:
        """Tell how much stands below the view."""
        self.prompt.pill.show_new_lines(None if self.log_view.is_following else event.count)

    @on(Pill.Pressed)
    def follow_again(self) -> None:
        """Go to the end."""
        self.log_view.scroll_end()
        self.prompt_input.focus()

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def show_hints(self) -> None:
        """Let the row of keys follow the focus."""
        self.call_later(self.refresh_figures)

    @on(PromptInput.Drafted)
    def count_draft(self) -> None:
        """Show the estimate of what is typed."""
        self._show_status()
        if self._marker is None:
            self._marker = self.set_timer(MARK_AFTER_S, self.mark_left_out)
