"""The chat screen: its parts, and the keys, commands and messages that its controllers handle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Horizontal, Vertical

from lmchat.domain.attached_files import split_draft, without_file_lines
from lmchat.domain.message import now
from lmchat.domain.session import SearchHit
from lmchat.errors import LMChatError, WrongUse
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line, safe_text
from lmchat.tui.commands import Scope, SlashCommand, bindings, is_command, parse_slash
from lmchat.tui.message_needs import NOTHING_YET
from lmchat.tui.quirks.app import PatchedScreen
from lmchat.tui.quirks.keys import run_own_binding
from lmchat.tui.screens.chat.background import Background
from lmchat.tui.screens.chat.branches import Branches
from lmchat.tui.screens.chat.key_hints import KeyHints
from lmchat.tui.screens.chat.message_actions import MessageActions
from lmchat.tui.screens.chat.message_contents import MessageContents
from lmchat.tui.screens.chat.notices import Notices
from lmchat.tui.screens.chat.prompt_files import PromptFiles
from lmchat.tui.screens.chat.prompt_text import PromptText
from lmchat.tui.screens.chat.saved_sessions import SavedSessions
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay, StatusRefreshed
from lmchat.tui.screens.chat.turns import Turns
from lmchat.tui.screens.chat.widgets import ChatWidgets
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.prompt import Pill
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList

CHECK_AFTER_S = 5.0
"""From the start to the daily check of the sessions' file: typing and searching come first."""
_LEDGER_DAYS = 90  # period of `/stats`; `lmchat stats` shows all of the ledger


class ChatScreen(PatchedScreen):
    """Sessions, chat and telemetry in three columns, and a row of keys below them."""

    AUTO_FOCUS = "PromptInput"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.open_sessions = workspace.open_sessions
        self.widgets = widgets = ChatWidgets(workspace.settings.ui.sections)
        self.notices = notices = Notices(self, workspace.platform)
        self.background = background = Background(self, workspace, widgets.prompt, notices)
        self.status = status = StatusDisplay(self, workspace, widgets, notices)
        self.prompt_text = PromptText(self.open_sessions, widgets, background, status)
        self._prompt_files = PromptFiles(
            self.open_sessions.files, widgets.prompt, notices, self.prompt_text
        )
        self.sessions = ShownSession(
            workspace, widgets, notices, background, status, self.prompt_text
        )
        self.turns = Turns(
            self,
            workspace,
            widgets,
            notices,
            background,
            status,
            self.sessions,
            self.prompt_text,
        )
        self.contents = MessageContents(workspace, widgets, notices, background)
        self.messages = MessageActions(
            widgets,
            notices,
            background,
            self.sessions,
            self.prompt_text,
            self.turns,
            Branches(workspace, widgets, notices, background, status, self.sessions, self.turns),
            self.contents,
        )
        self.saved_sessions = SavedSessions(
            self, workspace, notices, background, status, self.sessions, self.turns
        )
        self.hints = KeyHints(workspace, widgets, status, self.prompt_text)
        self._is_painted = False

    def compose(self) -> ComposeResult:
        self._set_first_classes()
        with Horizontal(id="body"):
            yield self.widgets.session_list
            with Vertical(id="chat"):
                with Center(id="title-row"):
                    yield self.widgets.title_line
                yield self.widgets.log
                yield self.widgets.prompt
            yield self.widgets.telemetry
        yield self.widgets.keys_row

    def _set_first_classes(self) -> None:
        """Set the classes of the size, else all styles were made again after the first paint."""
        app = self.app
        for breakpoints, cells in (
            (app.HORIZONTAL_BREAKPOINTS, app.size.width),
            (app.VERTICAL_BREAKPOINTS, app.size.height),
        ):
            reached = [name for least, name in breakpoints or [] if cells >= least]
            self.add_class(*reached[-1:])
        remembered = self.workspace.remembered
        has_telemetry = remembered.has_telemetry and self.workspace.settings.ui.sidebar
        self.set_class(not remembered.has_sessions, "-sessions-hidden")
        self.set_class(not has_telemetry, "-telemetry-hidden")

    def on_mount(self) -> None:
        settings = self.workspace.settings
        log = self.widgets.log
        log.inflow.frames_per_second = settings.ui.frames_per_second
        log.typed_into = self.widgets.prompt_input
        log.today = self.workspace.library.today
        log.is_saved = not self.workspace.is_temporary
        self.widgets.prompt_input.find_files = self.workspace.platform.find_files
        self.widgets.prompt_input.names = {"/p": settings.prompts, "/profile": settings.profiles}
        self.status.start()
        self.sessions.show_conversation()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Keep the styles that all widgets were given when they were mounted a moment ago."""
        event.refresh_styles &= self._is_painted
        self._is_painted = True

    def on_screen_suspend(self) -> None:
        """Leave notifications to the screen above, which has them at another place."""
        self.query("ToastRack").set(display=False)

    def on_resize(self) -> None:
        """Say where the terminal has become too small, or no longer is."""
        self.widgets.keys_row.refresh()

    # The start

    def start(self) -> None:
        """Begin what waits until after the first paint."""
        self.widgets.telemetry.start()
        self.sessions.show_list()
        self.background.attempt(self._open_store, group="history")
        if self.workspace.resume_id:
            self.background.attempt(self._resume, group="open", is_only=True)
        check = partial(self.background.begin, self._check_daily, "look")
        self.set_timer(CHECK_AFTER_S, check)

    async def _open_store(self) -> None:
        """Open the store; read earlier prompts and the draft of a new session."""
        self._add_notice(await self.workspace.store.open())
        compact_prompt = self.open_sessions.next_turn.options.compact_prompt
        earlier = [
            without_file_lines(prompt)
            for prompt in await self.workspace.store.prompt_history()
            if prompt != compact_prompt
        ]
        prompt_input = self.widgets.prompt_input
        draft = await self._earlier_draft()
        is_new = not self.sessions.conversation.messages
        if draft and is_new and not prompt_input.text:
            prompt_input.load_draft(draft)
        elif draft:  # the user was faster than the disk: ↑ restores it
            earlier.insert(0, draft)
        prompt_input.history_of_prompts = (*prompt_input.history_of_prompts, *earlier)

    async def _earlier_draft(self) -> str:
        """Return the draft of an earlier run, unless this one has its own or resumes a session."""
        drafts = self.open_sessions.drafts
        await drafts.load("")
        is_of_this_run = drafts.is_noted("")  # it is in the prompt, or was just sent
        return "" if is_of_this_run or self.workspace.resume_id else drafts.text("")

    async def _resume(self) -> None:
        session_id = await self.workspace.store.find(self.workspace.resume_id)
        await self.sessions.go_to(session_id, takes_queue=True)
        if self.sessions.opened.is_waiting and not self.open_sessions.has_to_wait:
            self.turns.send_waiting()

    async def _check_daily(self) -> None:
        with suppress(LMChatError):  # what cannot be read or written is shown where it is used
            notice = await self.workspace.store.daily_check()
            self._add_notice(notice)
            if notice:
                self.sessions.show_list()

    def _add_notice(self, notice: str) -> None:
        if notice:
            self.workspace.notices.append(notice)
            self.status.refresh()

    # The prompt

    @on(PromptInput.Submitted)
    def _submit_prompt(self, event: PromptInput.Submitted) -> None:
        prompt_input = self.widgets.prompt_input
        prompt_input.history_of_prompts = (event.text, *prompt_input.history_of_prompts)
        self.prompt_text.forget()
        if is_command(event.text):
            self.run_command(event.text)
        else:
            self.turns.submit(event.text)
        self.prompt_text.leave_command()

    def run_command(self, line: str) -> None:
        """Run a slash command; one that fails goes back into the prompt."""
        found = parse_slash(line)
        if found is None:
            self.widgets.prompt_input.put(line)
            words = f"Unknown command: {safe_line(line.partition(' ')[0], limit=40)}."
            hint = "F1 lists the commands. Begin with a space to send it as a message."
            self.notices.show_error(WrongUse(words, hint=hint))
        else:
            self.background.attempt(partial(self._run_command, found), group="slash", typed=line)

    async def _run_command(self, typed: SlashCommand) -> None:
        command = typed.command
        destination, name, parameters = parse(command.typed or command.action)
        if command.typed or (command.takes_argument and typed.argument):
            parameters = (*parameters, typed.argument)
        namespace = self.app if command.scope is Scope.APP else self
        await self.app.run_action((destination, name, parameters), namespace)

    @on(PromptInput.Drafted)
    def follow_typing(self) -> None:
        """Show what is typed in figures and keys, and save it."""
        self.status.show_line()
        self.show_keys()
        self.sessions.mark_left_out_soon()
        self.prompt_text.save_soon()

    @on(PromptInput.ScrollWanted)
    async def _scroll_log(self, event: PromptInput.ScrollWanted) -> None:
        await run_own_binding(self.widgets.log, event.key)

    @on(PromptInput.StopWanted)
    def _stop_answer(self) -> None:
        self.turns.stop()

    @on(PromptInput.QueueActWanted)
    def _act_on_queue(self, event: PromptInput.QueueActWanted) -> None:
        if event.what == "edit":
            self.turns.edit_queued(event.index)
        else:
            self.turns.remove_queued(event.index)

    def action_slash(self, start: str) -> None:
        self.prompt_text.begin_command(start)

    def action_edit_prompt(self) -> None:
        async def edit() -> None:
            prompt_input = self.widgets.prompt_input
            before = prompt_input.full_text
            after = await self.workspace.platform.edit(before)
            prompt_input.put(without_file_lines(after, allowed_lines=split_draft(before)[1]))

        self.background.lend_terminal_to(edit)

    @on(PromptInput.FileNamed)
    def _attach_named(self, event: PromptInput.FileNamed) -> None:
        attach = partial(self._prompt_files.attach, event.text, event.path)
        self.background.attempt(attach, group="attach")

    async def action_insert_file(self, path: str) -> None:
        await self._prompt_files.attach("", path)

    async def action_change_system_prompt(self, text: str) -> None:
        message = await self.sessions.conversation.set_system_prompt(text)
        self.widgets.log.append(message)
        self.status.show_action("system prompt changed")

    async def action_use_profile(self, name: str) -> None:
        profile = self.open_sessions.next_turn.use_profile(name, self.workspace.settings.profiles)
        if profile.model:
            await self.run_action(f"app.pick_model({profile.model!r})")
        self.status.show_action(f"profile {safe_line(name, limit=20)}")

    async def action_use_preset(self, typed: str) -> None:
        from lmchat.services.prompts import filled

        name, _, text = typed.partition(" ")

        async def paste() -> str:
            return without_file_lines(await self.workspace.platform.paste())

        self.turns.submit(await filled(self.workspace.settings.prompts, name, text, paste))

    def action_use_effort(self, level: str) -> None:
        self.open_sessions.next_turn.use_effort(level)
        self.status.show_action(f"effort {level}")
        self.notices.notify(f"Reasoning effort: {level}.")

    # Messages

    @on(ChatLog.ActionWanted)
    def _act_on_message(self, event: ChatLog.ActionWanted) -> None:
        if not event.text:
            self.messages.act_on(event.name, event.message)
        elif event.name == "links":
            self.contents.open_link(event.text)
        else:
            self.background.copy(event.text, event.note)

    @on(ChatLog.Decided)
    def _decide(self, event: ChatLog.Decided) -> None:
        self.turns.approvals.decide(event.choice)

    @on(ChatLog.NewLines)
    def _show_pill(self, event: ChatLog.NewLines) -> None:
        is_at_end = self.widgets.log.viewport.is_at_end
        self.widgets.prompt.pill.new_lines = None if is_at_end else event.count

    @on(Pill.Pressed)
    def _follow_again(self) -> None:
        self.widgets.log.scroll_end()
        self.widgets.prompt_input.focus()

    def action_message(self, name: str) -> None:
        self.messages.act(name)

    def action_focus_message(self, step: int) -> None:
        if self.widgets.log.focus_message(step):
            self.widgets.log.focus()
        else:
            self.widgets.prompt_input.focus()

    def action_copy(self, part: str = "") -> None:
        self.messages.copy_part(part)

    def action_regenerate_last(self) -> None:
        if last := self.sessions.opened.last_answer:
            self.turns.regenerate(last)
        else:
            self.notices.notify(NOTHING_YET)

    def action_compact(self) -> None:
        self.turns.compact(self.sessions.opened)

    def action_fork_session(self) -> None:
        if messages := self.sessions.conversation.messages:
            self.messages.act_on("fork", messages[-1])
        else:
            self.notices.notify(NOTHING_YET)

    # Finding

    async def action_find(self, query: str = "") -> None:
        from lmchat.tui.widgets.find_bar import FindBar

        if not self.query(FindBar):
            bar = FindBar(self.widgets.log)
            await self.query_one("#chat").mount(bar, before=self.widgets.prompt)
        self.query_one(FindBar).open(query)

    @on(ChatLog.HitsCounted)
    def _show_found(self, event: ChatLog.HitsCounted) -> None:
        from lmchat.tui.widgets.find_bar import FindBar

        for bar in self.query(FindBar):
            bar.show_place(event.place, event.count, is_whole=event.is_whole)

    # Sessions

    @on(SessionList.Opened)
    def _open_chosen(self, event: SessionList.Opened) -> None:
        self.remove_class("-sessions-over")
        self.sessions.switch_to(event.session_id)

    @on(SessionList.ActWanted)
    def _change_session(self, event: SessionList.ActWanted) -> None:
        act = partial(self.saved_sessions.act, event.name, event.session_id)
        self.background.attempt(act, group="change")

    @on(SessionList.SearchWanted)
    def _search_typed(self, event: SessionList.SearchWanted) -> None:
        self.action_search_sessions(event.query)

    def action_search_sessions(
        self, query: str = "", *, before: Callable[[], None] | None = None
    ) -> None:
        from lmchat.tui.screens.search_dialog import SearchDialog

        dialog = SearchDialog(self.workspace.store, query)

        def go(hit: SearchHit | None) -> None:
            if hit is None:
                return
            if before is not None:
                before()
            self.remove_class("-sessions-over")
            self.saved_sessions.open_hit(hit, is_exported=dialog.is_export_wanted)

        self.app.push_screen(dialog, go)

    def action_new_session(self) -> None:
        self.sessions.begin()

    async def action_manage_session(self, name: str, typed: str = "") -> None:
        act = partial(self.saved_sessions.act, name, self.sessions.shown_id, typed)
        if typed:  # by a slash command, which goes back into the prompt if this fails
            await act()
        else:
            self.background.attempt(act, group="change")

    # Panels, pages and keys

    def action_stop_or_leave(self) -> None:
        """Do the first of what Esc can do now."""
        if self.turns.stop() or self.prompt_text.leave_edit():
            return
        if self.prompt_text.leave_command() or self.widgets.log.drop_selection():
            return
        if self.focused is self.widgets.prompt_input and self.turns.take_back():
            return
        self.widgets.close_find_bar()
        self.remove_class("-sessions-over", "-telemetry-over")
        self.widgets.prompt_input.focus()

    def action_toggle_sessions(self) -> None:
        is_hidden_by_size = self.has_class("-narrow") or self.has_class("-mid")
        self._toggle_panel("sessions", is_hidden_by_size=is_hidden_by_size)
        if self.widgets.session_list.display:
            self.sessions.show_list()
            self.widgets.session_list.focus()
        else:
            self.widgets.prompt_input.focus()

    def action_toggle_telemetry(self) -> None:
        self._toggle_panel("telemetry", is_hidden_by_size=self.has_class("-narrow"))
        self.status.refresh()

    def _toggle_panel(self, name: str, *, is_hidden_by_size: bool) -> None:
        """Where there is room, hide or show the column for good; else lay it over the chat."""
        if is_hidden_by_size:
            self.toggle_class(f"-{name}-over")
            return
        self.toggle_class(f"-{name}-hidden")
        self.background.remember(
            replace(
                self.workspace.remembered,
                has_sessions=not self.has_class("-sessions-hidden"),
                has_telemetry=not self.has_class("-telemetry-hidden"),
            )
        )

    def action_show_log(self) -> None:
        from lmchat.tui.screens.text_dialog import TextDialog

        self.app.push_screen(TextDialog("Log file", safe_text(self.workspace.platform.log_file)))

    def action_show_tools(self) -> None:
        from lmchat.tui.screens.tools_dialog import tools_dialog

        self.app.push_screen(tools_dialog(self.open_sessions, self.workspace.platform.config_file))

    async def action_show_stats(self) -> None:
        from lmchat.services.turn_stats import figures_by_model
        from lmchat.tui.screens.text_dialog import TextDialog, models_text, run_text

        run = run_text(self.workspace.backend.metrics(), self.workspace.backend.budget())
        try:
            since = now() - timedelta(days=_LEDGER_DAYS)
            rows = await self.workspace.store.ledger_rows(since=since)
        except LMChatError as error:
            models = error.message
        else:
            models = models_text(figures_by_model(rows))
            if models:
                models = f"Last {_LEDGER_DAYS} days (median, 95th percentile)\n{models}"
        self.app.push_screen(TextDialog("Statistics", f"This run\n{run}\n\n{models}".rstrip()))

    def action_run_doctor(self) -> None:
        from lmchat.tui.screens.doctor_screen import DoctorScreen

        self.app.push_screen(DoctorScreen(self.workspace.platform.examination()))

    @on(KeysRow.CommandClicked)
    def _run_clicked(self, event: KeysRow.CommandClicked) -> None:
        self.run_command(event.line)

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    @on(ChatLog.SelectionChanged)
    def follow_focus(self) -> None:
        self.call_later(self.status.refresh)

    @on(ChatLog.FocusMoved)
    @on(StatusRefreshed)
    def show_keys(self) -> None:
        if self.is_mounted:
            self.hints.show()
