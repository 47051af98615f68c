"""The app: themes, notifications, errors, the clipboard, and the start of the dispatcher.

The dispatcher, which acts on messages, is imported after the first paint; until then, messages wait
in the chat screen.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from traceback import format_tb
from typing import Any, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.driver import Driver
from textual.filter import LineFilter, Monochrome, NoColor
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea
from textual.worker import Worker

from lmchat.app.commands.table import Scope
from lmchat.app.tui.line_filters import ascii_filters
from lmchat.app.tui.messages import AppMessage, RunCommand, ShowChat, bindings
from lmchat.app.tui.quirks.driver import lend_terminal, write_to_terminal
from lmchat.app.tui.quirks.key_queue import Typed, is_text
from lmchat.app.tui.quirks.keys import ASK_BACKGROUND, BackgroundReported, LooksReported, Paste
from lmchat.app.tui.quirks.patched_app import PatchedApp
from lmchat.app.tui.screen import ChatScreen, DispatcherProtocol
from lmchat.app.tui.themes import ANSI, DARK, LIGHT, THEMES, fitted, theme_named
from lmchat.app.tui.widgets.message_row import Passing
from lmchat.base.errors import LMChatError, log_bug
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import State

_WIDTH_CLASSES = [(0, "-narrow"), (80, "-mid"), (110, "-wide"), (160, "-roomy")]
_HEIGHT_CLASSES = [(0, "-short"), (30, "-tall")]
_STYLE_SHEETS = ("lmchat", "chat", "chat_log", "prompt")
_FIRST_KEY_S = 0.03  # from the first paint to other work: typed keys come first

OpenDispatcher = Callable[["LMChatApp"], Awaitable[DispatcherProtocol]]
"""Imports the dispatcher, and connects it with the app."""


class LMChatApp(PatchedApp):
    """lmchat on the screen."""

    CSS_PATH: ClassVar = [f"{name}.tcss" for name in _STYLE_SHEETS]
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.APP)]
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = _WIDTH_CLASSES
    VERTICAL_BREAKPOINTS = _HEIGHT_CLASSES
    TITLE = "lmchat"

    passing: reactive[Passing | None] = reactive(None)
    """Shown now, by the `MessageRow` of each screen."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        open_dispatcher: OpenDispatcher,
        *,
        is_temporary: bool = False,
    ) -> None:
        super().__init__()
        self.no_color = bool(os.environ.get("NO_COLOR"))  # Textual takes an empty one for set
        self.chat_screen = ChatScreen(settings, state, is_temporary=is_temporary)
        self.is_focus_reported = False  # the terminal has told whether it has the focus
        self.wanted_theme = settings.ui.theme or state.theme  # "" if none is wanted
        self._open_dispatcher = open_dispatcher
        self._drawing_error = "All parts of the screen could be drawn."
        self._terminal_lock = asyncio.Lock()
        self._passing_timer: Timer | None = None  # takes the message away
        self._start_with_wanted_theme()
        self._ascii_filters = ascii_filters(is_ascii=settings.ui.ascii)
        self._no_color, self._monochrome = NoColor(), Monochrome()
        if settings.ui.reduced_motion:
            self.animation_level = "none"
        self.set_keymap(dict(settings.keys))

    def _start_with_wanted_theme(self) -> None:
        """`Workspace.notices` warns of an unknown name."""
        for theme in THEMES:
            self.register_theme(theme)
        default = ANSI if self.console.color_system == "standard" else DARK  # of `TERM`
        name = theme_named(self.wanted_theme, self.available_themes) or default.name
        first_theme = self.available_themes[name]
        if first_theme not in THEMES:
            self.register_theme(fitted(first_theme))
        self.start_with_theme(name)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """For `NO_COLOR`, follow the theme: Textual chooses the filter before a theme is set.

        `Monochrome` makes the colours of the terminal black on black.
        """
        filters = [
            one for one in super().get_line_filters() if not isinstance(one, NoColor | Monochrome)
        ]
        if self.no_color:
            filters.append(self._no_color if self.native_ansi_color else self._monochrome)
        return [*filters, *self._ascii_filters]

    def get_default_screen(self) -> ChatScreen:
        return self.chat_screen

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        """Lend the terminal to another program, to one at a time.

        `api_key_cmd` may want it while an editor is open.
        """
        self.chat_screen.on_screen_suspend()
        async with self._terminal_lock:
            with lend_terminal(self):
                yield

    # The dispatcher

    @property
    def dispatcher(self) -> DispatcherProtocol | None:
        return self.chat_screen.dispatcher

    def on_ready(self) -> None:
        """Run the rest of the startup a moment after the first paint, so that keys come first."""
        self.set_timer(_FIRST_KEY_S, self._start)
        self.ask_background()

    def _start(self) -> None:
        """Switch on the garbage collector, too, which was off for a fast start."""
        gc.freeze()  # imported objects stay: it need not visit them
        gc.enable()
        # mypy needs the type of the worker
        _: Worker[None] = self.run_worker(self._open, name="open", group="dispatcher")

    async def _open(self) -> None:
        await self.chat_screen.open(await self._open_dispatcher(self))

    async def action_run(self, command_id: str) -> None:
        """Run a command whose key was pressed on any screen, once the dispatcher is there."""
        await self.chat_screen.pass_on(RunCommand(command_id))

    @on(AppMessage)
    async def pass_on_from_other_screen(self, message: Message) -> None:
        """Pass on a message of a dialog or the welcome screen, which are above the chat screen."""
        await self.chat_screen.pass_on(message)

    def field_for(self, event: Typed) -> Widget | None:
        """Return the prompt for text if no other field has the focus.

        A paste is text, and so is a letter that is no command of what has the focus. In a dialog,
        letters belong to the dialog, unless it came by itself. A page over the chat is closed.
        """
        screen = self.screen
        focused = self.focused
        chat_screen = self.chat_screen
        if isinstance(focused, Input | TextArea) or not is_text(event):
            return None
        is_dialog = isinstance(screen, ModalScreen)
        is_page = not is_dialog and screen is not chat_screen
        if isinstance(event, Paste):  # a word that is marked as one may be an address
            is_taken = is_page and event.is_marked and len(event.text.split()) <= 1
        elif is_dialog:
            is_taken = not screen.has_class("-unasked")
        elif event.key == "slash":  # it begins a command, but in the list it opens the filter
            is_taken = focused is chat_screen.widgets.session_list
        else:  # a blank begins no prompt
            is_blank = event.key == "space" and focused is not None
            is_taken = is_blank or event.key in screen.active_bindings
        if is_taken:
            return None
        if is_page:
            self.post_message(ShowChat(is_typed=True))
        return chat_screen.widgets.prompt_input

    @on(events.AppFocus)
    @on(events.AppBlur)
    def follow_focus(self, event: events.Event) -> None:
        self.is_focus_reported = True
        if self.dispatcher is not None:
            self.dispatcher.follow_app_focus(is_focused=isinstance(event, events.AppFocus))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Forbid the palette and the help, which are dialogs, over another dialog."""
        opens_dialog = action == "run" and parameters in (("commands",), ("help",))
        if opens_dialog and isinstance(self.screen, ModalScreen):
            return False
        return super().check_action(action, parameters)

    async def stop_and_save(self) -> None:
        if self.dispatcher is not None:
            await self.dispatcher.stop_and_save()

    async def on_unmount(self) -> None:
        await self.chat_screen.widgets.highlighter.aclose()

    def report_failure(self, error: BaseException) -> None:
        """Show an error, as of a worker; before the dispatcher is open, it ends lmchat."""
        if self.dispatcher is None:
            super().report_failure(error)
        elif isinstance(error, LMChatError):
            self.notify(error.message_with_next_step, severity="warning")
        else:
            error_id = log_bug(error)
            self.notify(
                f"lmchat had an internal error (id {error_id}). The log file has the details.",
                severity="error",
            )

    def cover_for(self, error: Exception) -> Static:
        """Return a card for the place of the widget."""
        error_id = log_bug(error)
        # the stack has no values, and the text of the error is left out: both may quote a chat
        stack = "".join(format_tb(error.__traceback__))
        self._drawing_error = f"error id {error_id}: {type(error).__name__}\n{stack}"
        return Static(  # some widgets have room for the first line only
            "[bold $error]Drawing failed[/]  [bold @click=app.run('redraw')]Retry[/]  "
            "[bold @click=app.run('copy_drawing_error')]Copy details[/]\n"
            f"This part of the screen could not be drawn (error id {error_id}).",
            classes="card",
        )

    def copy_drawing_error(self) -> None:
        self.copy_to_clipboard(self._drawing_error)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy by a tool of the desktop: Textual's way works only in some terminals."""
        if self.dispatcher is not None:
            self.dispatcher.copy(text)

    # What Textual would do otherwise

    def notify(
        self,
        message: str,
        *,
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        **_options: Any,
    ) -> None:
        """Nothing in a message is markup: the words may come from a server or a file."""
        if self._passing_timer is not None:
            self._passing_timer.stop()
        self._passing_timer = self.set_timer(timeout or self.NOTIFICATION_TIMEOUT, self._forget)
        self.passing = Passing(safe_line(message), severity)

    def _forget(self) -> None:
        self.passing = None

    def _refresh_notifications(self) -> None:
        """Move the message to the screen that has come to the top, where Textual shows toasts."""
        self.mutate_reactive(LMChatApp.passing)

    async def run_action(self, *args: Any, **options: Any) -> bool:
        """Show an error, which would end lmchat; then return True: the key was for this action."""
        try:
            return await super().run_action(*args, **options)
        except Exception as error:  # noqa: BLE001 - an answer may be running: lmchat continues
            self.report_failure(error)
            return True

    @on(Driver.SignalResume)
    def _paint_all(self) -> None:
        """The shell has used the screen."""
        self.refresh(layout=True)

    # The terminal's background

    @on(LooksReported)
    def ask_background(self) -> None:
        if not self.wanted_theme:
            self.call_after_refresh(write_to_terminal, self, ASK_BACKGROUND)

    def on_background_reported(self, event: BackgroundReported) -> None:
        if not self.wanted_theme and self.theme != ANSI.name:
            self.theme = (DARK if event.is_dark else LIGHT).name
