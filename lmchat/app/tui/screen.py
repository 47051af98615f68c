"""The chat screen as it is painted first: its widgets, and how messages reach the dispatcher."""

from __future__ import annotations

from typing import ClassVar, Protocol

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget

from lmchat.app.commands.table import PROMPT_HINTS, Scope
from lmchat.app.markdown_lines.highlighter import Highlighter
from lmchat.app.tui.chat_log.chat_log import ChatLog
from lmchat.app.tui.messages import AppMessage, ShowChanges, bindings
from lmchat.app.tui.quirks.patched_app import PatchedScreen
from lmchat.app.tui.widgets.find_bar import FindBar
from lmchat.app.tui.widgets.key_bar import KeyBar, command_hint, written
from lmchat.app.tui.widgets.line import MUTED, LineWidget, styled
from lmchat.app.tui.widgets.prompt_area import PromptArea, StatusLine
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.app.tui.widgets.session_list import SessionList
from lmchat.app.tui.widgets.telemetry_panel import TelemetryPanel
from lmchat.app.tui.widgets.telemetry_rows import LOOKING, server_sign
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import State

_LOW, _LOWEST = 7, 3  # rows of the window
NEW_SESSION = "New session"
"""Of a session without messages."""


class DispatcherProtocol(Protocol):
    """The part of `Dispatcher`, which is imported later, that screen and app call."""

    async def receive(self, message: Message) -> None:
        """Act on a message of a widget or dialog."""

    def copy(self, text: str) -> None: ...

    def follow_app_focus(self, *, is_focused: bool) -> None: ...

    async def stop_and_save(self) -> None:
        """Stop all answers, and save them, the drafts and the bookmark."""


class ChatWidgets:
    def __init__(self, settings: Settings) -> None:
        # for hints: the first of the user's keys of a command; they are divided by commas
        user_keys = {
            command_id: written(keys.partition(",")[0])
            for command_id, keys in settings.keys.items()
        }
        self.session_list = SessionList()
        self.title_line = LineWidget(id="title")
        self.highlighter = Highlighter()
        self.prompt_area = PromptArea(user_keys)
        self.log = ChatLog(
            self.highlighter,
            user_keys=user_keys,
            frames_per_second=settings.ui.frames_per_second,
            id="log",
        )
        self.find_bar = FindBar(self.log)
        self.telemetry = TelemetryPanel(settings.ui.sections)
        self.key_bar = KeyBar()

    @property
    def prompt_input(self) -> PromptInput:
        return self.prompt_area.input

    @property
    def has_log_focus(self) -> bool:
        # Textual updates `has_focus` one message later
        return self.log.screen.focused is self.log

    def show_title(self, title: str) -> None:
        """Show a safe title; "" is a new session."""
        self.title_line.show([styled(title or NEW_SESSION, MUTED)])


class ChatScreen(PatchedScreen):
    """Sessions, chat and telemetry in three columns, and a row of keys below them."""

    AUTO_FOCUS = "PromptInput"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Scope.CHAT),
        ("tab,shift+tab", "focus_prompt"),
    ]

    def __init__(self, settings: Settings, state: State, *, is_temporary: bool) -> None:
        super().__init__()
        self.widgets = ChatWidgets(settings)
        self._settings = settings
        self._state = state
        self._is_temporary = is_temporary
        self.dispatcher: DispatcherProtocol | None = None  # None until after the first paint
        self._waiting: list[Message] = []  # came before the dispatcher
        self._was_shown = False  # the screen has been on top before

    def compose(self) -> ComposeResult:
        self._set_first_classes()
        with Horizontal(id="body"):
            yield self.widgets.session_list
            with Vertical(id="chat"):
                with Center(id="title-row"):
                    yield self.widgets.title_line
                yield self.widgets.log
                yield self.widgets.find_bar
                yield self.widgets.prompt_area
            yield self.widgets.telemetry
        yield self.widgets.key_bar

    def _set_first_classes(self) -> None:
        """Textual does so after the first paint, and must then compute all styles again."""
        app = self.app
        for breakpoints, size in (  # least sizes and their classes, ascending
            (app.HORIZONTAL_BREAKPOINTS, app.size.width),
            (app.VERTICAL_BREAKPOINTS, app.size.height),
        ):
            reached = [name for least_size, name in breakpoints or [] if size >= least_size]
            self.add_class(*reached[-1:])
        self._show_what_fits(app.size.height)
        self.set_class(not self._state.has_sessions, "-sessions-hidden")
        self.set_class(not self._state.has_telemetry, "-telemetry-hidden")
        self.widgets.telemetry.shows_all = bool(self._state.has_all_figures)

    def on_resize(self, event: events.Resize) -> None:
        self._show_what_fits(event.size.height)

    def _show_what_fits(self, height: int) -> None:
        """In a very low window, only the prompt stays."""
        self.set_class(height < _LOW, "-low")  # without title and row of messages
        self.widgets.key_bar.display = height > _LOWEST
        self.widgets.log.display = height >= _LOWEST  # its least height is one row

    def on_mount(self) -> None:
        widgets = self.widgets
        widgets.show_title("")
        widgets.prompt_area.status.line = StatusLine(
            sign=server_sign(None),  # no server is checked yet
            state=LOOKING,
            saving="temporary" if self._is_temporary else "",
        )
        keys = self._settings.keys
        widgets.key_bar.show(
            [command_hint(name, keys) for name in PROMPT_HINTS],
            [command_hint(name, keys) for name in ("commands", "help")],
        )

    # Messages for the dispatcher

    @on(AppMessage)
    async def pass_on(self, message: Message) -> None:
        message.stop()
        # later ones wait behind the kept ones
        if self.dispatcher is None or self._waiting:
            self._waiting.append(message)
        else:
            await self.dispatcher.receive(message)

    async def open(self, dispatcher: DispatcherProtocol) -> None:
        self.dispatcher = dispatcher
        while self._waiting:
            await dispatcher.receive(self._waiting[0])
            del self._waiting[0]  # until here, `pass_on` puts later ones behind it

    # Log and list get the focus, and with it letters, only by a key that types nothing

    def action_focus_prompt(self) -> None:
        """Give the prompt the focus; a message that had it stays marked."""
        log = self.widgets.log
        log.is_marked = log.focused_message is not None
        self.set_focus(self.widgets.prompt_input)

    def on_screen_suspend(self) -> None:
        """A dialog, or another program, ends the letters of a message."""
        if self.focused is self.widgets.log:
            self.action_focus_prompt()

    def get_focusable_widget_at(self, x: int, y: int) -> Widget | None:
        """Focus the prompt at a press on log or list; Textual focuses what this returns."""
        widget = super().get_focusable_widget_at(x, y)
        if widget not in (self.widgets.log, self.widgets.session_list):
            return widget
        self.action_focus_prompt()
        prompt_input = self.widgets.prompt_input
        prompt_input.move_cursor(prompt_input.cursor_location)  # Ctrl+C copies what is selected now
        return prompt_input

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def follow_focus(self) -> None:
        """Update the row of keys, once the focus has arrived."""
        self.call_later(self.post_message, ShowChanges())

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Spare Textual a second computation of all styles at the start."""
        if not self._was_shown:
            event.refresh_styles = False
        self._was_shown = True
        self.post_message(ShowChanges())  # a dialog that was left posts none
