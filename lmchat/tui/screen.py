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
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Horizontal, Vertical

from lmchat.attachments.web_page import is_page_address
from lmchat.commands.conditions import NOTHING_YET
from lmchat.commands.table import Scope, SlashCommand, is_command, parse_slash
from lmchat.errors import LMChatError, WrongUse
from lmchat.safe_text import safe_line, safe_text
from lmchat.servers.options import COMMON, LLAMA_CPP_OPTIONS
from lmchat.services.workspace import Workspace
from lmchat.sessions.message import now
from lmchat.tui.actions import bindings
from lmchat.tui.chat_log.chat_log import ChatLog
from lmchat.tui.controllers.status import StatusRefreshed
from lmchat.tui.dispatch import ChatControllers
from lmchat.tui.quirks.keys import run_own_binding
from lmchat.tui.quirks.patched_app import PatchedScreen
from lmchat.tui.widgets.key_bar import KeyBar
from lmchat.tui.widgets.prompt import Pill
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList

CHECK_AFTER_S = 5.0
"""From the start to the daily check of the sessions' file: typing and searching come first."""


class ChatScreen(PatchedScreen):
    """Sessions, chat and telemetry in three columns, and a row of keys below them."""

    AUTO_FOCUS = "PromptInput"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.open_sessions = workspace.open_sessions
        controllers = ChatControllers(self, workspace)
        self.widgets = controllers.core.widgets
        self.notices = controllers.core.notices
        self.background = controllers.core.background
        self.read_ahead = controllers.core.read_ahead
        self.status = controllers.status
        self.prompt_text = controllers.prompt_text
        self.shell_commands = controllers.shell_commands
        self.sessions = controllers.sessions
        self.turns = controllers.turns
        self.branches = controllers.branches
        self.context = controllers.context
        self.contents = controllers.contents
        self.next_request = controllers.next_request
        self.messages = controllers.messages
        self.saved_sessions = controllers.saved_sessions
        self._prompt_files = controllers.prompt_files
        self._prompt_pages = controllers.prompt_pages
        self._hints = controllers.hints
        self._was_shown = False  # whether the screen has been on top before

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
        yield self.widgets.key_bar

    def _set_first_classes(self) -> None:
        """Set the classes for the size of the terminal and for the hidden panels.

        Textual sets the classes for the size only after the first paint, and must then compute all
        styles again. They are set here before, so that nothing changes after that paint.
        """
        app = self.app
        for breakpoints, size in (
            (app.HORIZONTAL_BREAKPOINTS, app.size.width),
            (app.VERTICAL_BREAKPOINTS, app.size.height),
        ):
            reached = [name for least_size, name in breakpoints or [] if size >= least_size]
            self.add_class(*reached[-1:])  # the class of the largest size that is reached
        state = self.workspace.state
        has_telemetry = state.has_telemetry and self.workspace.settings.ui.sidebar
        self.set_class(not state.has_sessions, "-sessions-hidden")
        self.set_class(not has_telemetry, "-telemetry-hidden")

    def on_mount(self) -> None:
        """Give the widgets what they need of settings and services, and show the session."""
        settings = self.workspace.settings
        log = self.widgets.log
        log.inflow.frames_per_second = settings.ui.frames_per_second
        log.typed_into = self.widgets.prompt_input
        log.today = self.workspace.library.today
        log.is_saved = not self.workspace.is_temporary
        self.widgets.prompt_input.find_files = self.workspace.platform.find_files
        self.widgets.prompt_input.names = {
            "/p": self.workspace.named.presets,
            "/profile": self.workspace.named.profiles,
            "/set": lambda: (*COMMON, *LLAMA_CPP_OPTIONS),
        }
        self.status.start()
        self.sessions.show_conversation()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Tell Textual at the start not to compute all styles again, which mounting has just done.

        Later, when a dialog above the screen is left, Textual computes them.
        """
        if not self._was_shown:
            event.refresh_styles = False
        self._was_shown = True

    def on_screen_suspend(self) -> None:
        """Hide the notifications of this screen: the screen that covers it shows them, too."""
        self.query("ToastRack").set(display=False)

    def on_resize(self) -> None:
        """Draw the row of keys again: it says so if the terminal has become too small."""
        self.widgets.key_bar.refresh()

    # The start

    def start(self) -> None:
        """Begin the work that waits until after the first paint.

        Rows of the panel are drawn, the list and the store are read, the session that the command
        line names is opened, and the daily check follows a few seconds later.
        """
        self.widgets.telemetry.start()
        self.sessions.show_list()
        self.background.attempt(self._open_store, group="history")
        if self.workspace.resume_id:
            self.background.attempt(self._resume, group="open", is_only=True)
        check = partial(self.background.begin, self._check_daily, "daily check")
        self.set_timer(CHECK_AFTER_S, check)

    async def _open_store(self) -> None:
        """Open the store, and read the earlier prompts and the draft from it."""
        self._add_notice(await self.workspace.store.open())
        await self.prompt_text.load_history()

    async def _resume(self) -> None:
        """Show the session that the command line names.

        Until it is read, a new session is shown. A prompt that was sent there and still waits is
        moved into the queue of the named session; if a model is ready, send it.
        """
        session_id = await self.workspace.store.find(self.workspace.resume_id)
        await self.sessions.go_to(session_id, takes_queue=True)
        if self.sessions.opened.is_waiting and not self.open_sessions.has_to_wait:
            self.turns.send_waiting()

    async def _check_daily(self) -> None:
        """Check the sessions' file once a day; a notice says what was found and changed."""
        with suppress(LMChatError):  # a file that cannot be read is reported where it is used
            notice = await self.workspace.store.daily_check()
            self._add_notice(notice)
            if notice:
                self.sessions.show_list()

    def _add_notice(self, notice: str) -> None:
        """Show a notice of the store, unless it is empty."""
        if notice:
            self.workspace.notices.append(notice)
            self.status.refresh()

    # The prompt

    @on(PromptInput.Submitted)
    def _submit_prompt(self, event: PromptInput.Submitted) -> None:
        """Send what was typed, or run it if it is a command, and keep it as an earlier prompt.

        A rewritten answer is saved instead, and is no prompt to keep. The draft is forgotten. If
        a key had put the start of a command in place of a typed text, this text comes back.
        """
        prompt_input = self.widgets.prompt_input
        is_answer = self.prompt_text.is_rewriting and not is_command(event.text)
        if not is_answer:
            earlier_prompts = prompt_input.history_of_prompts
            prompt_input.history_of_prompts = (event.text, *earlier_prompts)
        self.prompt_text.forget_draft()
        if is_answer:
            self.messages.save_rewritten(event.text)
        elif is_command(event.text):
            self.run_command(event.text)
        else:
            self.turns.submit(event.text)
        self.prompt_text.end_command()

    @on(PromptInput.ShellCommandSubmitted)
    def _run_shell_command(self, event: PromptInput.ShellCommandSubmitted) -> None:
        """Run a command of the user's shell, and keep its line as an earlier prompt."""
        prompt_input = self.widgets.prompt_input
        prompt_input.history_of_prompts = (event.line, *prompt_input.history_of_prompts)
        self.shell_commands.begin(event.line)
        self.prompt_text.end_command()

    def run_command(self, line: str) -> None:
        """Run a slash command in a worker; an unknown or failed one returns to the prompt."""
        slash = parse_slash(line)
        if slash is None:
            self.widgets.prompt_input.give_back(line)
            words = f"Unknown command: {safe_line(line.partition(' ')[0], limit=40)}."
            hint = "F1 lists the commands. Begin with a space to send it as a message."
            self.notices.show_error(WrongUse(words, hint=hint))
        else:
            self.background.attempt(partial(self._run_command, slash), group="slash", typed=line)

    async def _run_command(self, slash: SlashCommand) -> None:
        """Run the action of a slash command, with its argument as the last parameter.

        `Command.typed`, an action that only the slash command has, always gets this parameter.
        `Command.action`, which keys and the palette run, too, gets it only if an argument was typed
        and the command takes one.
        """
        command = slash.command
        destination, name, parameters = parse(command.typed or command.action)
        has_argument = command.takes_argument and bool(slash.argument)
        if command.typed or has_argument:
            parameters = (*parameters, slash.argument)
        namespace = self.app if command.scope is Scope.APP else self
        # Textual's method, which raises errors: lmchat's own one shows them
        await App.run_action(self.app, (destination, name, parameters), namespace)

    @on(PromptInput.Drafted)
    def follow_typing(self) -> None:
        """Update what depends on the typed text: figures, keys, marks in the log, the draft."""
        self.status.show_line()
        self.show_keys()
        self.sessions.mark_left_out_soon()
        self.prompt_text.save_soon()
        self.read_ahead.follow(self.prompt_text.new_prompt)

    @on(PromptInput.ScrollWanted)
    async def _scroll_log(self, event: PromptInput.ScrollWanted) -> None:
        await run_own_binding(self.widgets.log, event.key)

    @on(PromptInput.StopWanted)
    def stop_running(self) -> bool:
        """Stop the commands that run in the shell; else pages that are fetched; else the answer.

        Return whether anything was stopped.
        """
        return self.shell_commands.stop() or self._prompt_pages.stop() or self.turns.stop()

    @on(PromptInput.QueueActWanted)
    def _act_on_queue(self, event: PromptInput.QueueActWanted) -> None:
        if event.what == "edit":
            self.turns.edit_queued()
        else:
            self.turns.remove_queued()

    def action_slash(self, start: str) -> None:
        """Put the start of a slash command into the prompt; the user types its argument."""
        self.prompt_text.begin_command(start)

    def action_edit_prompt(self) -> None:
        self.background.lend_terminal_to(self.prompt_text.edit_in_program)

    @on(PromptInput.FileNamed)
    def _attach_named(self, event: PromptInput.FileNamed) -> None:
        """Attach the file that was chosen after `@`, or those whose paths were pasted."""
        if event.path:
            attach = partial(self._prompt_files.attach_named, event.path, typed=event.text)
        else:  # the text was pasted
            attach = partial(self._prompt_files.attach_pasted, event.text)
        self.background.attempt(attach, group="attach")

    async def action_insert_file(self, path: str) -> None:
        if is_page_address(path):
            self._prompt_pages.attach(path)
        else:
            await self._prompt_files.attach_named(path)

    async def action_insert_copied(self) -> None:
        await self._prompt_files.attach_copied()

    async def action_change_system_prompt(self, text: str) -> None:
        self.sessions.opened.require_free_end()
        message = await self.sessions.conversation.set_system_prompt(text)
        self.widgets.log.append(message)
        self.status.show_action("system prompt changed")

    async def action_use_profile(self, name: str) -> None:
        """Use a profile from the next turn on; if it names a model, switch to that, too."""
        _notify_of_wrong_tables(self)
        profiles = self.workspace.named.profiles()
        profile = self.open_sessions.next_turn.use_profile(name, profiles)
        if profile.model:
            await App.run_action(self.app, f"app.pick_model({profile.model!r})")
        self.status.show_action(f"profile {safe_line(name, limit=20)}")

    async def action_use_preset(self, typed: str) -> None:
        if self.prompt_text.is_rewriting:  # it would be sent as another version of the answer
            problem = "You are rewriting an answer, which Enter saves."
            raise WrongUse(problem, hint="Press Esc first, then send the preset.")
        _notify_of_wrong_tables(self)
        self.turns.submit(await self.prompt_text.fill_preset(typed))

    def action_use_effort(self, typed: str) -> None:
        next_turn = self.open_sessions.next_turn
        next_turn.use_effort(typed)
        effort = next_turn.options.effort_words(self.sessions.conversation.own_sampling)
        self.status.show_action(f"effort {effort}")
        self.notices.notify(f"Reasoning effort: {effort}.")

    def action_use_first_words(self, words: str) -> None:
        """Let the next answer begin with words that were typed behind `/start`, or with none."""
        self.open_sessions.use_first_words(words)
        self.status.show_action("first words set" if words.strip() else "first words removed")

    async def action_set_option(self, typed: str) -> None:
        """List the sampling options, or change or explain the one that was typed.

        Enter on a row of the list begins the command that changes this option.
        """
        from lmchat.services.session_sampling import SessionSampling
        from lmchat.tui.dialogs.sampling_dialog import SamplingDialog

        def begin_change(name: str | None) -> None:
            if name is not None:
                self.prompt_text.begin_command(f"/set {name} ")

        sampling = SessionSampling(self.sessions.conversation, self.open_sessions.next_turn)
        if typed:
            self.notices.notify(await sampling.change(typed))
        else:
            self.notices.show(SamplingDialog(sampling.options), begin_change)

    def action_show_request(self, form: str = "") -> None:
        self.next_request.show(form)

    # Messages

    @on(ChatLog.ActionWanted)
    def _act_on_message(self, event: ChatLog.ActionWanted) -> None:
        """Run the command on a message that the log leaves to the screen.

        If the event has a text, it is the link that was clicked (for "links"), or what the log has
        chosen to copy (for any other name).
        """
        if not event.text:
            self.messages.act_on(event.name, event.message)
        elif event.name == "links":
            self.contents.open_link(event.text)
        else:
            self.background.copy(event.text, event.note)

    @on(ChatLog.Decided)
    def _decide(self, event: ChatLog.Decided) -> None:
        self.turns.approvals.decide(event.choice)

    @on(ChatLog.Changed)
    def _follow_log(self) -> None:
        """Show in pill, find bar, figures and keys what has changed in the log."""
        log = self.widgets.log
        is_at_end = log.viewport.is_at_end
        words = "new text" if log.viewport.has_new_text else "more below"
        self.widgets.prompt.pill.words = "" if is_at_end else words
        self.widgets.show_hit_count()
        self.follow_focus()

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
        if last := self.sessions.opened.last_answer_or_prompt:
            self.turns.regenerate(last)
        else:
            self.notices.notify(NOTHING_YET)

    def action_answer_now(self) -> None:
        self.turns.answer_now()

    def action_compact(self) -> None:
        self.turns.compact(self.sessions.opened)

    def action_fork_session(self) -> None:
        if messages := self.sessions.conversation.messages:
            self.messages.act_on("fork", messages[-1])
        else:
            self.notices.notify(NOTHING_YET)

    # CheckResult

    async def action_find(self, query: str = "") -> None:
        await self.widgets.open_find_bar(query)

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
        self, query: str = "", *, on_choice: Callable[[], None] | None = None
    ) -> None:
        self.saved_sessions.search(query, on_choice=on_choice)

    def action_new_session(self) -> None:
        self.sessions.begin()

    async def action_manage_session(self, name: str, typed: str = "") -> None:
        """Act on the shown session, as `rename` or `export`, with the argument that was typed."""
        act = partial(self.saved_sessions.act, name, self.sessions.shown_id, typed)
        if typed:  # here, in the worker of `run_command`: after an error, the line must come back
            await act()
        else:
            self.background.attempt(act, group="change")

    # Panels, pages and keys

    def action_stop_or_leave(self) -> None:
        """Run the first of the steps of Esc that has something to do, as its return value says.

        If none has, close the find bar and the panels over the chat, and focus the prompt.
        """
        steps = [
            self.stop_running,
            self.prompt_text.leave_command,
            self.prompt_text.leave_edit,
            self.widgets.log.drop_selection,
        ]
        if self.focused is self.widgets.prompt_input:  # elsewhere, Esc first leads to the prompt
            steps.append(self.turns.take_back)
        for step in steps:
            has_done_something = step()
            if has_done_something:
                return
        self.widgets.close_find_bar()
        self.remove_class("-sessions-over", "-telemetry-over")
        self.widgets.prompt_input.focus()

    def action_toggle_sessions(self) -> None:
        """Show the list of sessions and focus it; if it is shown, hide it and focus the prompt."""
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
        """Show a column, or hide it if it is shown, and remember that.

        On a screen that is too narrow for it, show it over the chat; that is not remembered.
        """
        if is_hidden_by_size:
            self.toggle_class(f"-{name}-over")
            return
        self.toggle_class(f"-{name}-hidden")
        is_shown = not self.has_class(f"-{name}-hidden")
        self.background.remember(lambda state: replace(state, **{f"has_{name}": is_shown}))

    async def action_show_page(self, name: str) -> None:
        """Show a page: `context`, the `log` file, the `tools`, the `statistics`, or `doctor`."""
        from lmchat.tui.dialogs.text_dialog import TextDialog

        platform = self.workspace.platform
        match name:
            case "context":
                self.context.show()
            case "log":
                self.notices.show(TextDialog("Log file", safe_text(platform.log_file)))
            case "tools":
                from lmchat.tui.dialogs.tools_dialog import tools_dialog

                self.notices.show(tools_dialog(self.open_sessions, platform.config_file))
            case "statistics":
                await self._show_statistics()
            case _:
                from lmchat.tui.dialogs.doctor_screen import DoctorScreen

                self.notices.show(DoctorScreen(platform.examination()))

    async def _show_statistics(self) -> None:
        from lmchat.sessions.stats import (
            RECORD_DAYS,
            figures_by_model,
            models_text,
            statistics_text,
        )
        from lmchat.tui.dialogs.text_dialog import TextDialog

        store, backend = self.workspace.store, self.workspace.backend
        try:
            rows = await store.turn_records(since=now() - timedelta(days=RECORD_DAYS))
        except LMChatError as error:
            models = error.message
        else:
            models = models_text(figures_by_model(rows))
        text = statistics_text(backend.metrics(), backend.budget(), models)
        self.notices.show(TextDialog("Statistics", text))

    @on(KeyBar.CommandClicked)
    def _run_clicked(self, event: KeyBar.CommandClicked) -> None:
        self.run_command(event.line)

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def follow_focus(self) -> None:
        """Update the figures and the keys, once the focus has arrived at the new widget."""
        self.call_later(self.status.refresh)  # posts `StatusRefreshed`, with which the keys follow

    @on(StatusRefreshed)
    def show_keys(self) -> None:
        if self.is_mounted:
            self._hints.show()


def _notify_of_wrong_tables(chat: ChatScreen) -> None:
    """Say what is wrong with the presets or profiles of a file that was changed."""
    if problem := chat.workspace.named.problem():
        chat.notices.notify(problem)
