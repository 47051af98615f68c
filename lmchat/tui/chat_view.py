"""The objects that all controllers of the chat screen use: widgets, notices and dialogs, workers.

Work that takes time runs in workers. Each worker belongs to a group, in which a new one may cancel
those before it, and to the screen or the app, with which it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from textual.app import App
from textual.dom import DOMNode
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import Worker

from lmchat.config.state import Change
from lmchat.errors import LMChatError
from lmchat.markdown.highlighter import Highlighter
from lmchat.safe_text import safe_text
from lmchat.services.read_ahead import ReadAhead
from lmchat.services.workspace import Platform, Workspace
from lmchat.tui.chat_log.chat_log import ChatLog
from lmchat.tui.quirks.driver import lend_terminal, remember_copied, write_to_terminal
from lmchat.tui.widgets.key_bar import KeyBar
from lmchat.tui.widgets.line import LineWidget
from lmchat.tui.widgets.prompt import Prompt
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList
from lmchat.tui.widgets.telemetry_panel import TelemetryPanel

Work = Callable[[], Awaitable[None]]
"""The function that a worker calls and awaits."""

CANNOT_SEE = "This model cannot see images. Ctrl+O lists the models that can."
COPYING = "copy"
"""Group of the worker that copies a text, for which quitting waits."""
_OTHER_PROGRAM = "away"  # group of the worker in which another program uses the terminal


class ChatCore:
    """Widgets, notices and workers of the chat screen, made once for all its controllers."""

    def __init__(self, screen: Screen[None], workspace: Workspace) -> None:
        self.screen = screen
        self.workspace = workspace
        self.open_sessions = workspace.open_sessions
        self.read_ahead = ReadAhead(workspace.backend, workspace.open_sessions)
        self.widgets = ChatWidgets(workspace.settings.ui.sections)
        self.notices = Notices(screen, workspace.platform)
        self.background = Background(screen, workspace, self.widgets.prompt, self.notices)


class ChatWidgets:
    """The widgets of the chat screen, and changes that concern several of them.

    `ChatScreen.compose` arranges them. The find bar is not among them: it is made when it is used.
    """

    def __init__(self, telemetry_sections: Sequence[str]) -> None:
        self.session_list = SessionList()
        self.title_line = LineWidget(id="title")
        self.highlighter = Highlighter()
        self.log = ChatLog(highlighter=self.highlighter, id="log")
        self.prompt = Prompt()
        self.telemetry = TelemetryPanel(telemetry_sections)
        self.key_bar = KeyBar()

    @property
    def prompt_input(self) -> PromptInput:
        return self.prompt.input

    @property
    def has_log_focus(self) -> bool:
        # not `has_focus`, which Textual updates one message after the focus has moved
        return self.log.screen.focused is self.log

    @property
    def has_find_bar_focus(self) -> bool:
        return any(bar.has_focus_within for bar in self.log.screen.query("FindBar"))

    async def open_find_bar(self, query: str) -> None:
        """Open the find bar with a query, which may be empty; make the bar if none exists yet."""
        from lmchat.tui.widgets.find_bar import FindBar

        screen = self.log.screen
        if not screen.query(FindBar):
            bar = FindBar(self.log)
            await screen.query_one("#chat").mount(bar, before=self.prompt)
        screen.query_one(FindBar).open(query)

    def show_hit_count(self) -> None:
        """Show in the find bar how many hits there are, and which of them is the current one.

        Do nothing before the bar was opened for the first time.
        """
        from lmchat.tui.widgets.find_bar import FindBar

        for bar in self.log.screen.query(FindBar):
            bar.show_standing()

    def close_find_bar(self) -> None:
        """Hide the find bar, if there is one, and end the search in the log."""
        for bar in self.log.screen.query("FindBar"):
            bar.display = False
        if self.log.finder.is_active:
            self.log.finder.clear()

    def focus_approval_card(self) -> None:
        """Focus the card that asks about a tool call, if there is one.

        Do nothing unless the focus is in an empty prompt and the log follows the answer: otherwise
        the user is typing, or reading farther up.
        """
        is_in_prompt = self.log.screen.focused is self.prompt_input
        is_typing = bool(self.prompt_input.text)
        if is_in_prompt and not is_typing and self.log.viewport.is_following:
            self.log.show_message(self.log.calls.card_id)

    def leave_approval_card(self) -> None:
        """Focus the prompt, and scroll the log to its end, where it follows the answer."""
        self.log.screen.set_focus(self.prompt_input)
        self.log.scroll_end()


class Notices:
    """Shows notifications and dialogs."""

    def __init__(self, screen: Screen[None], platform: Platform) -> None:
        self._screen = screen
        self._platform = platform

    def notify(self, words: str, *, timeout_s: float | None = None) -> None:
        """Show a notification, for a number of seconds or by default as long as Textual does."""
        self._screen.app.notify(words, timeout=timeout_s)

    def warn(self, words: str) -> None:
        self._screen.app.notify(words, severity="warning")

    def show_error(self, error: LMChatError) -> None:
        self.warn(error.message_with_hint)

    def notify_if_unfocused(self, words: str) -> None:
        """Let the terminal itself notify the user if its window does not have the focus."""
        app = self._screen.app
        if not app.app_focus:
            write_to_terminal(app, self._platform.notification(words))

    async def ask(self, dialog: Screen[Any]) -> Any:
        """Show a dialog from a worker and return its result; None if the user left it."""
        return await self._screen.app.push_screen_wait(dialog)

    def show(self, dialog: Screen[Any], use_result: Callable[[Any], None] | None = None) -> None:
        """Show a dialog without waiting for it; `use_result` gets its result when it is left."""
        self._screen.app.push_screen(dialog, use_result)


class Background:
    """Runs work while the screen stays usable; errors become notices."""

    def __init__(
        self, screen: Screen[None], workspace: Workspace, prompt: Prompt, notices: Notices
    ) -> None:
        self._screen = screen
        self._workspace = workspace
        self._prompt = prompt
        self._notices = notices
        self._unsaved_changes: list[Change] = []  # of what lmchat remembers
        self._remember_lock = asyncio.Lock()

    def begin(self, work: Work, group: str, *, is_only: bool = True) -> None:
        """Run work that handles its errors in a worker of the chat screen.

        With `is_only`, earlier workers of the group are cancelled.
        """
        begin_work(self._screen, work, group, is_only=is_only)

    def begin_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return self._screen.set_timer(delay_s, callback)

    def attempt(self, work: Work, group: str, *, typed: str = "", is_only: bool = False) -> None:
        """Run work in a worker of the chat screen, and show the `LMChatError` that it raises.

        After such an error, `typed`, the command that began the work, returns to the prompt if the
        prompt has no words. With `is_only`, earlier workers of the group are cancelled.
        """

        async def run() -> None:
            try:
                await work()
            except LMChatError as error:
                if typed:
                    self._prompt.input.give_back(typed)
                self._notices.show_error(error)

        self.begin(run, group, is_only=is_only)

    def stop(self, group: str) -> bool:
        """Cancel the workers of a group; return whether there were any."""
        return bool(self._screen.workers.cancel_group(self._screen, group))

    def lend_terminal_to(self, work: Work) -> None:
        """Run work that uses the terminal for another program, such as an editor.

        Do nothing while such work is running: a key that is pressed twice starts one program.
        """

        async def run() -> None:
            with lend_terminal(self._screen.app):
                await work()

        workers = [worker for worker in self._screen.workers if worker.group == _OTHER_PROGRAM]
        if all(worker.is_finished for worker in workers):
            self.attempt(run, group=_OTHER_PROGRAM)

    def copy(self, text: str, note: str = "") -> None:
        """Copy a text to the clipboard in a worker of the app, and notify the user.

        If no tool of the desktop can copy it, it is sent to the terminal (OSC 52). `note` says
        which part of a message the text is, as `Block 2 of 3`; it begins the notification unless it
        is empty.
        """
        app = self._screen.app

        async def copy() -> None:
            tool = await self._workspace.platform.copy(text)
            words = f"copied ({tool})"
            if not tool:
                App.copy_to_clipboard(app, safe_text(text))  # Textual's: that of `app` comes here
                words = "sent to the terminal's clipboard (OSC 52); it does not report success"
            self._notices.notify(f"{note}: {words}" if note else words[0].upper() + words[1:])

        remember_copied(app, text)  # for Ctrl+V in lmchat
        begin_work(app, copy, COPYING)

    def remember(self, change: Change) -> None:
        """Change what lmchat remembers between its runs, and write it to the disk in a worker.

        While it cannot be written, the panel warns.
        """
        self._workspace.state = change(self._workspace.state)
        self._unsaved_changes.append(change)
        begin_work(self._screen.app, self._save_state, "remember", is_only=False)

    async def _save_state(self) -> None:
        """Write the changes so far, after the writes that have begun before."""
        workspace = self._workspace
        async with self._remember_lock:  # else a later change may be written first
            changes = tuple(self._unsaved_changes)
            try:
                await workspace.platform.remember(changes)
                workspace.save_warning = ""
                del self._unsaved_changes[: len(changes)]
            except LMChatError as error:  # they are tried again with the next one
                workspace.save_warning = error.message


def begin_work(node: DOMNode, work: Work, group: str, *, is_only: bool = True) -> None:
    """Run work in a worker of the app or of a screen, in a group, which also names the worker.

    With `is_only`, earlier workers of the group are cancelled.
    """

    async def run() -> None:  # Textual runs no `lambda` that returns a coroutine
        await work()

    _: Worker[None] = node.run_worker(run, name=group, group=group, exclusive=is_only)


def open_screens(app: App[None], class_name: str) -> list[Any]:
    """Return the open screens of a class, lowest first; other screens may cover them.

    The class is given by its name: its module is imported only when such a screen is opened.
    """
    return [screen for screen in app.screen_stack if type(screen).__name__ == class_name]
