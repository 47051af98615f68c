"""The app: themes, keys, clipboard, notices and the way out; arriving at a server is its base's part."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.driver import Driver
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen
from textual.worker import WorkerError

from lmchat.errors import LMChatError
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.app.arrivals import Arrivals
from lmchat.tui.commands import Scope, bindings
from lmchat.tui.icons import ASCII_CLASS
from lmchat.tui.intents import AnswerEnded, ChangeTheme, CopyText, ExportHit, RememberPanels, Search
from lmchat.tui.quirks.app import Palette
from lmchat.tui.quirks.driver import remember_copied, write_to_terminal
from lmchat.tui.screens.palette import CommandRows
from lmchat.tui.themes import THEMES, theme_named
from lmchat.tui.widgets.prompt_input import PromptInput

_STYLES_OF_DIALOGS = str(Path(__file__).parent.parent / "dialogs.tcss")
FIRST_KEY_S = 0.03
"""What is typed right after the first paint is shown before anything else begins."""
LONG_ANSWER_S = 10.0
"""An answer that took longer is told where nobody looks."""
_COPY, _COPY_S = "copy", 2.5
"""The name of the work that copies, and how long leaving waits for it."""
_TWICE_WITHIN_S = 2.0
"""Two presses of Ctrl+C within this time quit."""


class LMChatApp(Arrivals):
    """lmchat on the screen."""

    CSS_PATH = ["../lmchat.tcss", "../chat.tcss", "../chat_log.tcss", "../prompt.tcss"]  # noqa: RUF012 - as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.APP)]
    COMMANDS = {CommandRows}  # noqa: RUF012 - as Textual declares it
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-mid"), (110, "-wide"), (160, "-roomy")]  # noqa: RUF012 - as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - as Textual declares it
    TITLE = "lmchat"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        settings = workspace.settings
        for theme in THEMES:
            self.register_theme(theme)
        wanted = settings.ui.theme or workspace.remembered.theme
        self.begin_with_theme(wanted if wanted in self.available_themes else THEMES[0].name)
        self.set_class(settings.ui.ascii, ASCII_CLASS)
        if settings.ui.reduced_motion:
            self.animation_level = "none"
        self.set_keymap(dict(settings.keys))
        self._last_ctrl_c_s = 0.0

    def on_ready(self) -> None:
        """Begin what neither the first paint nor the first key shall wait for: imports, network and disk."""
        self.set_timer(FIRST_KEY_S, self._begin)

    def _begin(self) -> None:
        gc.freeze()  # what was imported stays: the collector need not go through it again and again
        gc.enable()
        self.read_styles_of_dialogs()
        self.start_looking()
        self.chat.start(self.workspace.resume_id)

    def read_styles_of_dialogs(self) -> None:
        """Read what the first paint does not wait for; a second call does nothing."""
        if not self.stylesheet.has_source(_STYLES_OF_DIALOGS):
            self.stylesheet.read(_STYLES_OF_DIALOGS)
            self.stylesheet.parse()

    def push_screen(self, *screen: Any, **options: Any) -> Any:
        """Show a dialog or a page, with its styles."""
        self.read_styles_of_dialogs()
        return super().push_screen(*screen, **options)

    async def stop_and_save(self) -> None:
        """Stop all answers and wait until they, and what is typed, are on the disk; before every way out."""
        self.chat.is_leaving = True
        await self.chat.stop_all()
        await self.open_sessions.settle()
        with suppress(LMChatError, NoMatches):
            self.chat.note_draft()
            self.chat.note_bookmark()
            await self.open_sessions.drafts.write()
            await self.open_sessions.bookmarks.write()

    async def action_quit(self) -> None:
        """Save what is running, let what was just copied arrive, and quit."""
        await self.stop_and_save()
        copying = [worker for worker in self.workers if worker.group == _COPY and worker.is_running]
        if copying:
            with suppress(WorkerError, TimeoutError):
                async with asyncio.timeout(_COPY_S):
                    await self.workers.wait_for_complete(copying)
        self.exit()

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Tell one thing in passing at a time, in place of what was told before; warnings add up."""
        if severity == "information":
            self.clear_notifications()
            for screen in self.screen_stack[-1:]:  # Textual leaves an empty row for each that is replaced
                screen.query("ToastHolder").remove()
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=markup)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep the palette and the help off dialogs."""
        if action in ("command_palette", "show_help") and isinstance(self.screen, ModalScreen):
            return False
        return super().check_action(action, parameters)

    def action_command_palette(self) -> None:
        """Show the palette, which closes once however often it is told to."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_show_help(self) -> None:
        """Show every command with its key."""
        from lmchat.tui.screens.help_screen import HelpScreen

        self.push_screen(HelpScreen(self.workspace.settings.keys))

    def action_suspend_process(self) -> None:
        """Stop until the shell brings lmchat back; without a shell nothing could."""
        from lmchat.terminal.output import has_shell

        if has_shell():
            super().action_suspend_process()
        else:
            self.notify("No shell started lmchat that could bring it back.", markup=False)

    @on(Driver.SignalResume)
    def paint_all(self) -> None:
        """Paint everything: the shell had the terminal meanwhile."""
        self.refresh(layout=True)

    def action_copy_or_stop(self) -> None:
        """Copy what is selected; else stop the answer; twice with nothing to do: quit."""
        log = self.chat.log_view
        typed = "" if self.focused is log else str(getattr(self.focused, "selected_text", "") or "")
        if selected := typed or self.screen.get_selected_text():
            self.post_message(CopyText(selected))
            self.screen.clear_selection()
            return
        if self.screen is self.chat and log.copy_selection():
            return
        if self.chat.stop_turn():
            return
        if self.focused is not None and self.focused is self.chat.prompt_input:
            self.chat.prompt_input.ask_to_stop()
        else:
            self._quit_if_twice()

    @on(PromptInput.StopAsked)
    def stop_what_was_sent(self) -> None:
        """Stop the answer to what was sent right before Ctrl+C; what a command began has begun by then."""
        self.chat.call_later(self._stop_or_quit)

    def _stop_or_quit(self) -> None:
        if not self.chat.stop_turn():
            self._quit_if_twice()

    def _quit_if_twice(self) -> None:
        now_s = time.monotonic()
        if now_s - self._last_ctrl_c_s < _TWICE_WITHIN_S:
            self.begin_work(self.action_quit, "quit")
        else:
            self._last_ctrl_c_s = now_s
            self.notify("Ctrl+C once more quits.", timeout=_TWICE_WITHIN_S, markup=False)

    @on(CopyText)
    def copy_text(self, event: CopyText) -> None:
        """Put text on the clipboard and say the way it took."""
        self.copy_to_clipboard(event.text, event.note)

    def copy_to_clipboard(self, text: str, note: str = "") -> None:
        """Put text on the clipboard by the ways of this terminal, instead of by OSC 52 alone."""
        remember_copied(self, text)
        self.begin_work(lambda: self._copy(text, note), _COPY)

    async def _copy(self, text: str, note: str) -> None:
        try:
            words = safe_line(await self.workspace.outside.copy(text))
            self.notify(f"{note}: {words[:1].lower()}{words[1:]}" if note else words, markup=False)
        except LMChatError as error:
            self.chat.tell(error)

    @on(Search)
    def search(self, event: Search) -> None:
        """Search as one types."""
        self.begin_work(lambda: self._search(event), "search")

    async def _search(self, wanted: Search) -> None:
        from lmchat.tui.screens.search_dialog import SearchDialog

        began_s = time.monotonic()
        dialog = self.screen
        if not isinstance(dialog, SearchDialog):
            return
        try:
            hits = await self.workspace.store.search(wanted.query, limit=wanted.limit)
        except LMChatError as error:
            dialog.show_problem(error.message)
        else:
            took_ms = (time.monotonic() - began_s) * 1e3
            dialog.show_hits(hits, took_ms, is_cut=len(hits) >= wanted.limit)

    @on(ExportHit)
    def export_hit(self, event: ExportHit) -> None:
        """Show the session of a hit and export it."""
        self.screen.dismiss(None)
        self.chat.export_hit(event.hit)

    @on(ChangeTheme)
    def change_theme(self, event: ChangeTheme) -> None:
        """Use the named theme, or the next one, and remember it."""
        names = [theme.name for theme in THEMES]
        place = names.index(self.theme) if self.theme in names else -1
        self.theme = theme_named(event.name) or names[(place + 1) % len(names)]
        self.keep_changed(theme=self.theme)

    @on(RememberPanels)
    def remember_panels(self, event: RememberPanels) -> None:
        """Keep which panels are shown."""
        self.keep_changed(has_sessions=event.has_sessions, has_telemetry=event.has_telemetry)

    @on(AnswerEnded)
    def tell_end(self, event: AnswerEnded) -> None:
        """Tell who looks elsewhere that a long answer has ended; look at the server after a failure."""
        if event.has_failed:
            self.workspace.monitor.look_now()
        if event.elapsed_s > LONG_ANSWER_S and not self.app_focus:
            self._notify_terminal("The answer has ended.")

    def _notify_terminal(self, words: str) -> None:
        """Let the terminal tell it: by a bell, or a notification of the desktop."""
        sequence = self.workspace.outside.notification(words)
        if sequence:
            write_to_terminal(self, sequence)

    def on_resize(self, event: events.Resize) -> None:
        """Paint all where a size comes back before anything was laid out for another.

        The terminal has cut its rows meanwhile; for Textual nothing has changed.
        """
        if self.screen_stack and self.screen.outer_size == event.size:
            self.screen.refresh()

    def on_app_focus(self) -> None:
        """Look more often while somebody looks, and at once for a server where there is none."""
        self.workspace.monitor.is_focused = True
        if self.open_sessions.target is None:
            self._look.set()

    def on_app_blur(self) -> None:
        """Look less often while nobody looks."""
        self.workspace.monitor.is_focused = False

    def tell_failure(self, error: BaseException) -> None:
        """Tell that something failed that nobody expected to: the log has it under an id, lmchat goes on."""
        error_id = self.workspace.outside.note_error(error)
        self.notify(
            f"Something in lmchat itself went wrong (error {error_id}). The log file has the details.",
            severity="error",
            markup=False,
        )
