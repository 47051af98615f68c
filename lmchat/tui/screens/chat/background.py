"""Workers of the chat screen: work that may fail, and other programs on its terminal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.dom import DOMNode
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import Worker

from lmchat.domain.remembered import Remembered
from lmchat.errors import LMChatError
from lmchat.services.workspace import Workspace
from lmchat.tui.quirks.driver import lend_terminal, remember_copied
from lmchat.tui.screens.chat.notices import Notices
from lmchat.tui.widgets.prompt import Prompt

Work = Callable[[], Awaitable[None]]

COPYING = "copy"  # group of the worker that copies
_LENT = "away"  # group of the worker that has lent the terminal


def begin_work(node: DOMNode, work: Work, name: str, *, is_only: bool = True) -> None:
    """Run a worker of the app or a screen; `is_only` cancels the earlier one of this name."""

    async def run() -> None:
        await work()

    _: Worker[None] = node.run_worker(run, name=name, group=name, exclusive=is_only)


class Background:
    """Runs work while the screen stays usable; errors become notices."""

    def __init__(
        self, screen: Screen[None], workspace: Workspace, prompt: Prompt, notices: Notices
    ) -> None:
        self._screen = screen
        self._workspace = workspace
        self._prompt = prompt
        self._notices = notices

    def begin(self, work: Work, name: str, *, is_only: bool = True) -> None:
        """Run work that handles its errors; `is_only` cancels the earlier one of this name."""
        begin_work(self._screen, work, name, is_only=is_only)

    def begin_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return self._screen.set_timer(delay_s, callback)

    def attempt(self, work: Work, group: str, *, typed: str = "", is_only: bool = False) -> None:
        """Run work that may fail: its error is shown, and what was typed returns to the prompt."""

        async def run() -> None:
            try:
                await work()
            except LMChatError as error:
                if typed and not self._prompt.input.text:
                    self._prompt.input.put(typed)
                self._notices.show_error(error)

        self.begin(run, group, is_only=is_only)

    def lend_terminal_to(self, work: Work) -> None:
        """Run another program on the terminal; a key pressed twice does not run two."""

        async def run() -> None:
            with lend_terminal(self._screen.app):
                await work()

        lent = [worker for worker in self._screen.workers if worker.group == _LENT]
        if all(worker.is_finished for worker in lent):
            self.attempt(run, group=_LENT)

    def copy(self, text: str, note: str = "") -> None:
        """Copy a text; `note` names the part of a message, as `Block 2 of 3`."""

        async def copy() -> None:
            try:
                words = await self._workspace.platform.copy(text)
            except LMChatError as error:
                self._notices.show_error(error)
                return
            if note:
                words = f"{note}: {words[:1].lower()}{words[1:]}"
            self._notices.notify(words)

        remember_copied(self._screen.app, text)
        begin_work(self._screen.app, copy, COPYING)

    def remember(self, remembered: Remembered) -> None:
        """Save what lmchat remembers between its runs."""
        self._workspace.remembered = remembered

        async def save() -> None:
            try:
                await self._workspace.platform.remember(remembered)
            except LMChatError as error:
                self._workspace.warning = error.message

        begin_work(self._screen.app, save, "remember")
