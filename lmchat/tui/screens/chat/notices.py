"""Notifications and dialogs of the chat screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.screen import Screen

from lmchat.errors import LMChatError
from lmchat.services.workspace import Platform
from lmchat.tui.quirks.driver import write_to_terminal

CANNOT_SEE = "This model cannot see images. Ctrl+O lists the models that can."


class Notices:
    """What the user is told and asked."""

    def __init__(self, screen: Screen[None], platform: Platform) -> None:
        self._screen = screen
        self._platform = platform

    def notify(self, words: str, *, timeout_s: float | None = None) -> None:
        """Show a notification."""
        self._screen.app.notify(words, timeout=timeout_s)

    def warn(self, words: str) -> None:
        self._screen.app.notify(words, severity="warning")

    def show_error(self, error: LMChatError) -> None:
        self.warn(error.message_with_hint)

    def notify_if_unfocused(self, words: str) -> None:
        """Let the terminal notify a user who looks at another window."""
        app = self._screen.app
        if not app.app_focus:
            write_to_terminal(app, self._platform.notification(words))

    async def ask(self, dialog: Screen[Any]) -> Any:
        """Show a dialog from a worker and return its result; None if the user left it."""
        return await self._screen.app.push_screen_wait(dialog)

    def show(self, dialog: Screen[Any], take: Callable[[Any], None] | None = None) -> None:
        """Show a dialog at once; `take` gets its result."""
        self._screen.app.push_screen(dialog, take)
