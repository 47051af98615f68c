"""The dispatcher: it finds which controller acts on a message."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from functools import partial

from textual.css.query import NoMatches
from textual.message import Message
from textual.widgets import Input, TextArea

from lmchat.app.commands.shared import SHARED
from lmchat.app.commands.table import BY_ID
from lmchat.app.commands.typed_line import is_shell_command, message_notice
from lmchat.app.terminal.tty import has_shell
from lmchat.app.tui.app import LMChatApp
from lmchat.app.tui.chat_log.chat_log import ChatLog
from lmchat.app.tui.controllers.controllers import Controllers
from lmchat.app.tui.controllers.tool_questions import ask_about_server
from lmchat.app.tui.dialogs.ask_dialog import QuitDialog
from lmchat.app.tui.messages import (
    ReadSessions,
    RunCommand,
    ShowChanges,
    ShowChat,
)
from lmchat.app.tui.screen_commands import ScreenCommands
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.themes import short_name
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.app.tui.widgets.message_row import MessageRow
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.app.tui.widgets.session_list import SessionList
from lmchat.app.tui.workspace import Workspace
from lmchat.base.errors import LMChatError
from lmchat.core.chat.settings import LEVELS
from lmchat.core.servers.sampling_options import COMMON, FURTHER_OPTIONS
from lmchat.core.sessions.prompts import PendingPrompt

CHECK_AFTER_S = 5.0
"""Time from the start to the daily check of the sessions: typing and searching come first."""
_SAVE_AT_SIGNAL_S = 0.5  # the program is ended a second after a signal
_SAVE_AT_QUIT_S = 1.5  # then the user is asked
_SAYS_SAVING_AFTER_S = 0.5  # most saves take a few milliseconds
_TWICE_WITHIN_S = 2.0  # two presses of Ctrl+C quit
# Typing changes only what is shown at once; `ChatLog.Changed` follows `ScrollRequested`
_SHOWN_ALREADY = (ShowChanges, PromptInput.Drafted, PromptInput.ScrollRequested)


class Dispatcher:
    """Gives messages to the controllers, and does what concerns several: typing, Esc and Ctrl+C."""

    def __init__(self, app: LMChatApp, workspace: Workspace) -> None:
        self.app = app
        self.workspace = workspace
        self.chat = workspace.chat
        self.ui = ui = ScreenServices(app, workspace)
        self.copy = ui.copy
        self.controllers = Controllers(ui)
        self.commands = ScreenCommands(
            ui,
            self.controllers,
            {
                "stop": self.stop_or_leave,
                "previous": partial(self.focus_message, -1),
                "next": partial(self.focus_message, 1),
                "copy_or_stop": self.copy_or_stop,
                "suspend": self.suspend,
                "quit": self.quit,
            },
        )
        self._last_ctrl_c_s = 0.0  # that had nothing to do

    # The start

    def start(self) -> None:
        widgets = self.ui.widgets
        workspace = self.workspace
        widgets.log.today = workspace.library.today  # other days are shown with their date
        widgets.prompt_input.find_files = workspace.platform.find_files
        toolbox = self.chat.turn_options.toolbox
        if toolbox is not None:
            toolbox.host.ask_user = partial(ask_about_server, self.ui)
        widgets.prompt_input.argument_names = {
            "/p": workspace.settings.prompts,
            "/profile": workspace.settings.profiles,
            "/set": (*COMMON, *FURTHER_OPTIONS),
            "/effort": LEVELS,
            "/theme": sorted(map(short_name, self.app.available_themes)),
        }
        self.controllers.session_view.redraw()
        if workspace.resume_id:
            self.controllers.session_view.start_switch(self._open_named_session)
        else:
            self.controllers.server_search.start()
        if workspace.notices:  # in one message: a later one would take its place
            folder = f"{workspace.platform.config_file.parent}{os.sep}"  # it would take all rows
            lines = (f"{notice.rstrip('.')}." for notice in workspace.notices)
            self.ui.warn("\n".join(lines).replace(folder, ""))
        self.ui.start(self._open_store, "history")
        self.ui.start_later(CHECK_AFTER_S, lambda: self.ui.start(self._check_daily, "daily check"))

    async def _open_store(self) -> None:
        await self.controllers.saved_sessions.open_file()
        await self.controllers.prompt_text.load_history()

    async def _check_daily(self) -> None:
        with suppress(LMChatError):  # reported where it is used
            await self.workspace.store.daily_check()

    async def _open_named_session(self) -> None:
        """Show the session; what was typed or sent before it was read is meant for it."""
        workspace = self.workspace
        try:
            session_id = await workspace.store.take_session(workspace.saved, workspace.resume_id)
            await self.controllers.session_view.go_to(session_id, takes_prompts=True)
            if workspace.system_prompt is not None:
                await SHARED["system"](self.commands, workspace.system_prompt)
        finally:  # only now: a server that is ready is sent what waits
            self.controllers.server_search.start()

    # What the app asks for

    async def stop_and_save(self) -> None:
        """End at a signal; what cannot be saved in the short time goes into the state folder."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SAVE_AT_SIGNAL_S):
                await self.controllers.prompt_text.take_from_editor()
                await self._stop_and_save()
        self._keep_draft_and_position()
        if not self.workspace.is_temporary:
            await self.workspace.library.keep_unsaved(
                self.workspace.platform.state_folder, self.chat.unsaved()
            )

    async def _stop_and_save(self) -> None:
        await self.chat.close()  # before the drafts: it may return an unsent prompt
        self._keep_draft_and_position()
        await self.chat.drafts.write_at_end()
        await self.controllers.session_view.bookmarks.write()
        await self.ui.wait_until_remembered()

    def _keep_draft_and_position(self) -> None:
        with suppress(NoMatches):  # a signal may come before the prompt exists
            self.controllers.session_view.keep_draft_and_position()

    def follow_app_focus(self, *, is_focused: bool) -> None:
        """Without the focus, save draft and bookmark: another lmchat may go on in the session."""
        if is_focused:
            self.controllers.server_search.search_soon()
            self.ui.start(self.controllers.session_view.catch_up, "catch up")
        else:
            self.controllers.session_view.keep_draft_and_position()

    # Messages and commands

    async def receive(self, message: Message) -> None:
        try:
            await self._act_on(message)
        except Exception as error:  # noqa: BLE001 - an answer may be running: lmchat continues
            self.app.report_failure(error)
        if not isinstance(message, _SHOWN_ALREADY):
            self.ui.show_changes()

    async def _act_on(self, message: Message) -> None:
        """A message without a case concerns only widgets."""
        controllers = self.controllers
        match message:
            case RunCommand(command_id=command_id, argument=argument):
                self.commands.run(BY_ID[command_id], argument)
            case ReadSessions():
                controllers.saved_sessions.reload()
            case ShowChanges():
                controllers.session_view.show_calls()
                controllers.status.refresh()
                controllers.saved_sessions.refresh()
                controllers.hints.show()
            case PromptInput.CommandEntered(line=line, prompt=prompt):
                controllers.prompt_text.keep_draft(sent=line)
                controllers.prompt_text.remember(line)
                if is_shell_command(line):
                    controllers.prompt_files.start_shell(line, prompt)
                else:
                    self.commands.run_line(line, prompt)
            case PromptInput.Submitted(prompt=prompt):
                self._submit(prompt)
            case PromptInput.Drafted():
                self.follow_typing()
            case PromptInput.ScrollRequested(action=action):
                await self.app.run_action(action, self.ui.widgets.log)
            case PromptInput.ChoiceKeyPressed(key=key):
                controllers.turn_view.choose(key)
            case PromptInput.QueuedRequested(is_edited=is_edited):
                controllers.turn_view.take_queued(is_edited=is_edited)
            case PromptInput.FileNamed(path=path, text=text, prompt=prompt) as named:
                controllers.prompt_files.attach(
                    path, text, prompt, is_in_sentence=named.is_in_sentence
                )
            case ChatLog.CodeClicked(message=clicked, number=number, is_thought=is_thought):
                controllers.message_actions.copy_code(clicked, number, is_thought=is_thought)
            case ChatLog.LinkClicked(address=address):
                controllers.message_actions.open_link(address)
            case ChatLog.Changed():
                self._follow_log()
            case MessageRow.Pressed():
                self.ui.widgets.log.scroll_end()
                self.ui.widgets.prompt_input.focus()
            case SessionList.ActRequested(command_id=command_id, session_id=session_id):
                self.commands.run_on_session(command_id, session_id)
            case ShowChat(is_typed=is_typed):
                controllers.server_search.leave_page(is_typed=is_typed)
            case WelcomeScreen.Chosen(choice=choice, typed=typed):
                controllers.server_search.act_on_choice(choice, typed)
            case _:
                pass

    # The prompt and the log

    def _submit(self, prompt: PendingPrompt) -> None:
        if self.controllers.prompt_files.may_name_files(prompt):
            self.ui.start(partial(self._send_if_meant, prompt), "send", holds_keys=True)
        else:
            self._send(prompt)

    async def _send_if_meant(self, prompt: PendingPrompt) -> None:
        controllers = self.controllers
        is_rewriting = controllers.prompt_text.is_rewriting
        if is_rewriting or await controllers.prompt_files.are_names_meant(prompt):
            self._send(prompt)

    def _send(self, prompt: PendingPrompt) -> None:
        controllers = self.controllers
        # `follow_typing` does this later. Until then, the saved draft would have the text twice: as
        # a draft, and as an unsent prompt.
        controllers.prompt_text.keep_draft(sent=prompt.draft)
        if controllers.prompt_files.hold(prompt):
            self.ui.widgets.log.scroll_end()
        elif controllers.prompt_text.is_rewriting:
            self.ui.start(partial(controllers.branches.rewrite, prompt), "message")
        else:
            controllers.prompt_text.remember(prompt.draft)
            controllers.turn_view.submit(prompt)
            if notice := message_notice(prompt.draft):
                self.ui.notify(notice)

    def follow_typing(self) -> None:
        controllers = self.controllers
        if self.ui.widgets.prompt_input.is_being_written:
            self.ui.widgets.log.is_marked = False
            self.ui.screen.remove_class("-sessions-over")  # the list may cover the prompt
        controllers.status.show_line()
        controllers.hints.show()
        controllers.session_view.show_calls()
        controllers.session_view.mark_left_out_soon()
        controllers.prompt_text.keep_draft()
        self.chat.read_ahead.follow(controllers.prompt_text.typed_prompt)

    def focus_message(self, step: int) -> None:
        """Below the last message is the prompt; `step` is 1 or -1."""
        if not self.ui.widgets.log.focus_message(step):
            self.ui.widgets.prompt_input.focus()

    def _follow_log(self) -> None:
        viewport = self.ui.widgets.log.viewport
        text = "new text" if viewport.has_new_text else "more below"
        row = self.ui.widgets.prompt_area.message_row
        row.below = "" if viewport.is_at_end else text  # "" hides it
        self.ui.widgets.find_bar.show_number()

    # Esc

    def stop_running(self) -> bool:
        """Return whether any ran."""
        return self.controllers.prompt_files.stop() or self.controllers.turn_view.stop()

    def stop_or_leave(self) -> None:
        """Do the first of these steps that has an effect."""
        is_in_prompt = self.ui.screen.focused is self.ui.widgets.prompt_input
        self.ui.screen.action_focus_prompt()  # letters behind Esc are text, also after a stop
        has_done_something = (
            self.stop_running()
            or self.controllers.prompt_text.cancel_edit()
            or self.ui.widgets.log.drop_selection()
            # elsewhere, Esc first leads to the prompt
            or (is_in_prompt and self.controllers.turn_view.take_back())
        )
        if not has_done_something:
            self.ui.widgets.log.is_marked = False
            self.ui.widgets.find_bar.close()
            self.ui.screen.remove_class("-sessions-over", "-telemetry-over")

    # Ctrl+C and the end

    def copy_or_stop(self) -> None:
        """Copy the selection, else stop the answer, else quit after a second press."""
        app = self.app
        focused = app.focused
        selected = focused.selected_text if isinstance(focused, Input | TextArea) else ""
        selected = selected or app.screen.get_selected_text() or ""
        if selected:
            self.ui.copy(selected)
            app.screen.clear_selection()
            return
        has_copied = app.screen is self.ui.screen and self.ui.widgets.log.copy_selection()
        if has_copied or self.stop_running():
            return
        now_s = time.monotonic()
        if now_s - self._last_ctrl_c_s < _TWICE_WITHIN_S:
            self.quit()
        else:
            self._last_ctrl_c_s = now_s
            key = self.ui.key_name("copy_or_stop")
            self.ui.notify(f"Press {key} again to quit.", timeout_s=_TWICE_WITHIN_S)

    def suspend(self) -> None:
        if has_shell():
            self.app.action_suspend_process()
        else:
            self.ui.notify("lmchat was not started from a shell, so it cannot be suspended.")

    def quit(self) -> None:
        """Do nothing while a quit is running: its question may be open."""
        workers = [worker for worker in self.app.workers if worker.group == "quit"]
        if all(worker.is_finished for worker in workers):
            self.ui.start(self._quit, "quit", holds_keys=True)

    async def _quit(self) -> None:
        """Stop and save all, and quit; if something cannot be saved, ask what to do."""
        waiting = self.ui.start_later(
            _SAYS_SAVING_AFTER_S, lambda: self.ui.notify("Saving your sessions before quitting.")
        )
        with suppress(TimeoutError):  # each write waits for another program that holds the file
            async with asyncio.timeout(_SAVE_AT_QUIT_S):
                await self._stop_and_save()
        waiting.stop()
        unsaved = "" if self.workspace.is_temporary else self.chat.unsaved_text()
        choice = QuitDialog.QUIT
        if unsaved:
            choice = await self.ui.ask(QuitDialog(unsaved, self.chat.save_queue.warning))
        if choice == QuitDialog.QUIT:
            if unsaved:
                await self.workspace.store.drop_answers(with_saved_prompts=True)
            self.workspace.store.database.is_patient = False
            self.app.exit()
            return
        self.chat.reopen()
        if choice == QuitDialog.EXPORT:
            await self.controllers.export_import.export()
