"""The app: themes, clipboard, notifications, the way out, and the requests that screens post."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress
from typing import Any, ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.driver import Driver
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, TextArea
from textual.worker import WorkerError

from lmchat.commands.table import Command, Scope
from lmchat.errors import LMChatError, WrongUse
from lmchat.safe_text import safe_line
from lmchat.services.workspace import Workspace
from lmchat.tui.actions import (
    AskAnotherModel,
    LoadOrUnload,
    LoadWith,
    ModelUsed,
    OpenFile,
    RefreshModels,
    ShowServers,
    bindings,
)
from lmchat.tui.chat_view import COPYING, begin_work
from lmchat.tui.controllers.connect import Connect
from lmchat.tui.controllers.current_target import CurrentTarget
from lmchat.tui.controllers.model_switch import ModelSwitch
from lmchat.tui.icons import ASCII_CLASS
from lmchat.tui.quirks.driver import write_to_terminal
from lmchat.tui.quirks.keys import ASK_BACKGROUND, BackgroundReported
from lmchat.tui.quirks.patched_app import PatchedApp
from lmchat.tui.screen import ChatScreen
from lmchat.tui.themes import LIGHT, THEMES, fitted, short_name, theme_named

_WIDTH_CLASSES = [(0, "-narrow"), (80, "-mid"), (110, "-wide"), (160, "-roomy")]
_HEIGHT_CLASSES = [(0, "-short"), (30, "-tall")]
_STYLE_SHEETS = ("lmchat", "chat", "chat_log", "prompt", "dialogs")
_FIRST_KEY_S = 0.03  # from the first paint to other work: keys that are typed now are shown first
_BACKGROUND_S = 0.1  # how long the terminal may take to answer which background it has
_COPY_S = 2.5  # how long quitting waits for the worker that copies
_TWICE_WITHIN_S = 2.0  # two presses of Ctrl+C within this time quit


class LMChatApp(PatchedApp):
    """lmchat on the screen."""

    CSS_PATH: ClassVar = [f"{name}.tcss" for name in _STYLE_SHEETS]
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.APP)]
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = _WIDTH_CLASSES
    VERTICAL_BREAKPOINTS = _HEIGHT_CLASSES
    TITLE = "lmchat"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.open_sessions = workspace.open_sessions
        self.chat = ChatScreen(workspace)
        target = CurrentTarget(self, workspace, self.chat)
        self.models = ModelSwitch(self, workspace, self.chat, target)
        self.connect = Connect(self, workspace, self.chat, target, self.models, self._make_page)
        settings = workspace.settings
        self._wanted_theme = settings.ui.theme or workspace.state.theme  # empty for none
        self._asked_background_s = 0.0  # when the terminal was asked for its background
        self._last_ctrl_c_s = 0.0  # when Ctrl+C was pressed and had nothing to do
        self._begin_with_built_in_theme()
        self.set_class(settings.ui.ascii, ASCII_CLASS)
        if settings.ui.reduced_motion:
            self.animation_level = "none"
        self.set_keymap(dict(settings.keys))

    def _begin_with_built_in_theme(self) -> None:
        """Begin with the wanted theme if lmchat or Textual has it, else with the default one.

        `on_ready` searches the user's files for it later.
        """
        for theme in THEMES:
            self.register_theme(theme)
        name = theme_named(self._wanted_theme, self.available_themes) or THEMES[0].name
        first_theme = self.available_themes[name]
        if first_theme not in THEMES:
            self.register_theme(fitted(first_theme))
        self.begin_with_theme(name)

    def get_default_screen(self) -> ChatScreen:
        return self.chat

    def _make_page(self) -> Screen[None]:
        """Return a new welcome page; its module is imported only if a page is needed."""
        from lmchat.tui.welcome.welcome_screen import WelcomeScreen

        return WelcomeScreen(self.workspace, self.connect)

    def on_ready(self) -> None:
        """Begin what the first paint and the first key do not wait for: network and disk.

        If no theme was wanted, the terminal is asked for its background. If the wanted theme is not
        built in, the user's files are searched for it.
        """
        self.set_timer(_FIRST_KEY_S, self._begin)
        if not self._wanted_theme:
            self.call_after_refresh(self._ask_background)
        elif not theme_named(self._wanted_theme, self.available_themes):
            begin_work(self, self._use_wanted_theme, "theme")

    def _begin(self) -> None:
        """Begin the search for a server and the reading of the store; switch the collector on.

        That is Python's garbage collector, which is off until now for a fast start.
        """
        gc.freeze()  # it need not visit what was imported
        gc.enable()
        self.connect.start()
        self.chat.start()

    async def stop_and_save(self) -> None:
        """Stop all answers, and wait until the answers, the drafts and the bookmark are saved.

        The bookmark is the place to which the shown session is scrolled.
        """
        self.workspace.is_leaving = True
        self.chat.read_ahead.cancel()
        await self.chat.turns.stop_all()
        await self.open_sessions.save_all()
        with suppress(NoMatches):  # a signal may come before the prompt exists: nothing was typed
            self.chat.sessions.save()
            await self.chat.prompt_text.write()

    async def on_unmount(self) -> None:
        await self.chat.widgets.highlighter.aclose()

    async def action_quit(self) -> None:
        """Stop and save everything, wait up to `_COPY_S` for a text that is being copied, and quit.

        The answers that are streaming are stopped by this.
        """
        await self.stop_and_save()
        copying = [
            worker for worker in self.workers if worker.group == COPYING and worker.is_running
        ]
        if copying:
            with suppress(WorkerError, TimeoutError):
                async with asyncio.timeout(_COPY_S):
                    await self.workers.wait_for_complete(copying)
        self.exit()

    def notify(
        self, message: str, *, severity: SeverityLevel = "information", **options: Any
    ) -> None:
        """Show a notification as plain text on one line.

        One of the severity "information" replaces all that are shown; warnings and errors are added
        to them. Nothing in the words is markup: they may come from a server or a file.
        """
        if severity == "information":
            self.clear_notifications()
        options["markup"] = False
        super().notify(safe_line(message), severity=severity, **options)

    def report_failure(self, error: BaseException) -> None:
        """Log an unexpected error of a worker and notify the user; lmchat continues."""
        error_id = self.workspace.platform.note_error(error)
        self.notify(
            f"lmchat had an internal error (id {error_id}). The log file has the details.",
            severity="error",
        )

    async def run_action(self, *args: Any, **options: Any) -> bool:
        """Run an action of a key or the palette, and show the `LMChatError` that it raises.

        Textual would end lmchat. Slash commands run theirs by Textual's own method: after an error,
        their line returns to the prompt.
        """
        try:
            return await super().run_action(*args, **options)
        except LMChatError as error:
            self.chat.notices.show_error(error)
            return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return False for the palette and the help while a dialog is on top; else ask Textual."""
        if action in ("command_palette", "show_help") and isinstance(self.screen, ModalScreen):
            return False
        return super().check_action(action, parameters)

    def action_command_palette(self) -> None:
        """Show the commands that apply to the screen, and run the chosen one.

        If the welcome page is shown, a chosen command of the chat first closes it.
        """
        from lmchat.tui.dialogs.palette import Palette, palette_entries

        is_over_chat = self.screen is self.chat

        async def run(command: Command | None) -> None:
            if command is None:
                return
            if command.scope is Scope.APP:
                await self.run_action(command.action, self)
                return
            if not is_over_chat:
                self.connect.leave_page()
            await self.run_action(command.action, self.chat)

        # None: no commands on messages, presets and profiles
        entries = palette_entries(self.chat if is_over_chat else None)
        self.push_screen(Palette(entries, self.workspace.settings.keys), run)

    def action_show_help(self) -> None:
        from lmchat.tui.dialogs.help_screen import HelpScreen

        self.push_screen(HelpScreen(self.workspace.settings.keys))

    def action_suspend_process(self) -> None:
        """Suspend lmchat until the shell resumes it; refuse if no shell could do that."""
        from lmchat.terminal.tty import has_shell

        if has_shell():
            super().action_suspend_process()
        else:
            self.notify("lmchat was not started from a shell, so it cannot be suspended.")

    @on(Driver.SignalResume)
    def _paint_all(self) -> None:
        """Paint the whole screen after a suspension, during which the shell has used it."""
        self.refresh(layout=True)

    def action_copy_or_stop(self) -> None:
        """Do the first of these that is possible: copy, stop the answer, quit.

        What is copied is the selection in the focused input, else that of the screen, else that in
        the chat log. To quit, the key must be pressed twice within `_TWICE_WITHIN_S`; the first
        time, a notification says so.
        """
        selected = ""
        if isinstance(self.focused, Input | TextArea):
            selected = self.focused.selected_text
        selected = selected or self.screen.get_selected_text() or ""
        if selected:
            self.copy_to_clipboard(selected)
            self.screen.clear_selection()
            return
        has_copied = self.screen is self.chat and self.chat.widgets.log.copy_selection()
        if has_copied or self.chat.stop_running():
            return
        now_s = time.monotonic()
        if now_s - self._last_ctrl_c_s < _TWICE_WITHIN_S:
            begin_work(self, self.action_quit, "quit")
        else:
            self._last_ctrl_c_s = now_s
            self.notify("Press Ctrl+C again to quit.", timeout=_TWICE_WITHIN_S)

    def copy_to_clipboard(self, text: str) -> None:
        self.chat.background.copy(text)

    async def action_use_theme(self, name: str = "") -> None:
        """Use the named theme, or without a name the one chosen from a list, and remember it.

        Raises `WrongUse` for an unknown name.
        """
        from lmchat.tui.dialogs.theme_dialog import ThemeDialog

        await self._read_own_themes()
        if not name:
            first_names = [theme.name for theme in THEMES]
            other_names = sorted(self.available_themes.keys() - set(first_names))
            themes = [self.available_themes[each] for each in (*first_names, *other_names)]
            self.push_screen(ThemeDialog(themes, self.theme), self._use_theme)
        elif full_name := theme_named(name, self.available_themes):
            self._use_theme(full_name)
        else:
            words = f"Unknown theme: {safe_line(name, limit=40)}."
            raise WrongUse(words, hint="/theme lists all themes.")

    def _use_theme(self, name: str | None) -> None:
        """Use a theme and remember it; None, after Esc, changes nothing."""
        if name is not None:
            self.theme = name
            self.chat.background.remember(lambda state: replace(state, theme=name))
            self.notify(f"Theme: {short_name(name)}.")

    async def _read_own_themes(self) -> None:
        """Register the themes in files of the user, and Textual's themes as fitted to our styles.

        A warning says for each file without a valid theme what is wrong.
        """
        from lmchat.tui.theme_files import read_themes

        for theme in self.available_themes.values():
            if theme not in THEMES:
                self.register_theme(fitted(theme))
        folder = self.workspace.platform.themes_folder
        themes, problems = await asyncio.to_thread(read_themes, folder)
        for theme in themes:
            self.register_theme(theme)
        for problem in problems:
            self.chat.notices.warn(problem)

    async def _use_wanted_theme(self) -> None:
        """Use the wanted theme if it is in a file of the user; else warn that it is unknown."""
        await self._read_own_themes()
        if full_name := theme_named(self._wanted_theme, self.available_themes):
            self.theme = full_name
        else:
            name = safe_line(self._wanted_theme, limit=40)
            self.chat.notices.warn(f"Unknown theme: {name}. /theme lists all themes.")

    def _ask_background(self) -> None:
        """Ask the terminal for its background; `BackgroundReported` has the answer."""
        self._asked_background_s = self.workspace.clock()
        write_to_terminal(self, ASK_BACKGROUND)

    def on_background_reported(self, event: BackgroundReported) -> None:
        """Use the light theme if the terminal reports a light background.

        Do nothing if a theme was wanted or chosen since, or if the answer is late: then the screen
        would change its colours while the user reads.
        """
        is_in_time = self.workspace.clock() - self._asked_background_s < _BACKGROUND_S
        is_unset = not self._wanted_theme and self.theme == THEMES[0].name
        if is_in_time and is_unset and not event.is_dark:
            self.theme = LIGHT.name

    def on_resize(self, event: events.Resize) -> None:
        """Paint everything if the terminal was resized, and back, before Textual drew either.

        The terminal has cut its rows, but for Textual the size is the same, so it draws nothing.
        """
        if self.screen_stack and self.screen.outer_size == event.size:
            self.screen.refresh()

    def on_app_focus(self) -> None:
        """Check the server more often, and show what another lmchat has written to the session.

        While no server is in use, search for one at once instead of after the pause.
        """
        self.workspace.monitor.is_focused = True
        self.connect.search_if_no_server()
        begin_work(self.chat, self.chat.sessions.reload, "reload")

    def on_app_blur(self) -> None:
        """Check the server less often, and save draft and bookmark of the shown session.

        So another lmchat, to which the user may go now, opens the session with the same draft and
        scrolled to the same place.
        """
        self.workspace.monitor.is_focused = False
        if self.chat.is_mounted:
            self.chat.sessions.save()

    def action_pick_model(self, name: str = "") -> None:
        """Switch to the model with a name or a number among the recent ones; else open the picker.

        `name` is empty for the picker.
        """
        if name:
            self.models.switch_to_named(name)
        else:
            self.models.open_picker()

    @on(AskAnotherModel)
    def _ask_another_model(self, event: AskAnotherModel) -> None:
        self.models.open_picker(then=lambda model: self.chat.turns.regenerate(event.message, model))

    def action_check_now(self) -> None:
        self.connect.check_now()

    @on(ModelUsed)
    def _close_welcome_page(self) -> None:
        self.connect.close_page()

    @on(ShowServers)
    def _show_servers(self) -> None:
        self.connect.open_page()

    @on(LoadOrUnload)
    def _load_or_unload(self, event: LoadOrUnload) -> None:
        self.models.load_or_unload(event.model)

    @on(LoadWith)
    def _load_with(self, event: LoadWith) -> None:
        self.models.ask_for_load_options(event.model)

    @on(RefreshModels)
    def _refresh_models(self) -> None:
        self.models.refresh_picker()

    @on(OpenFile)
    def _open_file(self, event: OpenFile) -> None:
        self.chat.contents.open_file(event.file)
