"""Widgets of the chat screen, its workers and its notices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.screen import Screen
from textual.worker import Worker

from lmchat.errors import LMChatError
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.quirks.driver import lend_terminal
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.line import LineWidget
from lmchat.tui.widgets.prompt import Prompt
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList
from lmchat.tui.widgets.telemetry_panel import TelemetryPanel

_AWAY = "away"
"""Group of the worker that has lent the terminal."""


class ChatView:
    """The widgets of the chat screen, and what every controller does with them."""

    def __init__(self, screen: Screen[None], workspace: Workspace) -> None:
        self.screen = screen
        self.session_list = SessionList()
        self.title_line = LineWidget(id="title")
        self.log = ChatLog(id="log")
        self.prompt = Prompt()
        self.telemetry = TelemetryPanel(workspace.settings.ui.sections, id="telemetry")
        self.keys_row = KeysRow()
        self.is_leaving = False
        """Whether lmchat is quitting: nothing new begins."""

    @property
    def prompt_input(self) -> PromptInput:
        """The text field of the prompt."""
        return self.prompt.input

    @property
    def has_log_focus(self) -> bool:
        """Whether keys go to the messages."""
        return self.screen.focused is self.log

    def notify(self, words: str) -> None:
        """Show a notification; `words` have passed the filter."""
        self.screen.app.notify(words, markup=False)

    def tell(self, error: LMChatError) -> None:
        """Show an error that has no place of its own."""
        self.screen.app.notify(safe_line(error.words), severity="warning", markup=False)

    def begin_work(self, work: Callable[[], Awaitable[None]], name: str, *, is_only: bool = True) -> None:
        """Run a worker; `is_only` cancels the earlier one of this name."""

        async def run() -> None:
            await work()

        _: Worker[None] = self.screen.run_worker(run, name=name, group=name, exclusive=is_only)

    def attempt(
        self, work: Callable[[], Awaitable[None]], group: str = "library", *, typed: str = ""
    ) -> None:
        """Run a worker that may fail: its error is shown, and what was typed goes back into the prompt."""

        async def run() -> None:
            try:
                await work()
            except LMChatError as error:
                if typed and not self.prompt_input.text:
                    self.prompt_input.put(typed)
                self.tell(error)

        self.begin_work(run, group, is_only=group == "open")

    def lend_terminal_to(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run another program on the terminal; a key pressed twice does not run two."""

        async def lent() -> None:
            with lend_terminal(self.screen.app):
                await work()

        if not any(one.group == _AWAY and not one.is_finished for one in self.screen.workers):
            self.attempt(lent, group=_AWAY)

    def close_find_bar(self) -> None:
        """Hide the find bar and unmark the hits."""
        for bar in self.screen.query("FindBar"):
            bar.display = False
        if self.log.finder.is_active:
            self.log.hits.clear()
