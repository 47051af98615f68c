"""Services that all controllers share: notices, dialogs, workers, the clipboard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual.screen import Screen
from textual.timer import Timer
from textual.worker import Worker

from lmchat.app.terminal.clipboard import copyable
from lmchat.app.tui.app import LMChatApp
from lmchat.app.tui.messages import ShowChanges
from lmchat.app.tui.quirks.driver import remember_copied, write_to_terminal
from lmchat.app.tui.widgets.key_bar import command_hint, written
from lmchat.app.tui.workspace import Workspace
from lmchat.base.errors import LMChatError
from lmchat.core.config.state import Change

Work = Callable[[], Awaitable[object]]
_OTHER_PROGRAM = "away"  # group of the worker that lends the terminal


class ScreenServices:
    """The chat on the screen, made once for all controllers."""

    def __init__(self, app: LMChatApp, workspace: Workspace) -> None:
        self.app = app
        self.screen = app.chat_screen
        self.widgets = app.chat_screen.widgets
        self.workspace = workspace
        workspace.chat.read_ahead.on_change = self.show_changes
        self.last_action = ""  # for the panel
        self._warnings = {"sessions": "", "state": ""}  # by source, the most urgent first
        self._remember_lock = asyncio.Lock()

    # Stats and the list of sessions

    def show_changes(self) -> None:
        """For work that continues after a change; `StatusDisplay` lists what else shows changes."""
        self.screen.post_message(ShowChanges())

    def show_action(self, text: str) -> None:
        self.last_action = text
        self.show_changes()

    @property
    def warning(self) -> str:
        return next(filter(None, self._warnings.values()), "")

    def set_warning(self, source: str, text: str) -> None:
        """Set the standing warning of a source; "" takes it back."""
        self._warnings[source] = text

    # Notices and dialogs

    def key_name(self, command_id: str) -> str:
        """Return a name such as `Ctrl+O`, or that of the user's own key."""
        key, _ = command_hint(command_id, self.workspace.settings.keys)
        return written(key, ctrl="Ctrl+")

    @property
    def unasked_key(self) -> str:
        """The key for a yes to a question that comes by itself, as to the card of a tool call."""
        return command_hint("tool_once", self.workspace.settings.keys)[0]

    def notify(self, text: str, *, timeout_s: float | None = None) -> None:
        self.app.notify(text, timeout=timeout_s)

    def take_back(self, text: str) -> None:
        """Remove a message that is no longer true."""
        if self.app.passing is not None and self.app.passing.text == text:
            self.app.passing = None

    def warn(self, text: str) -> None:
        self.app.notify(text, severity="warning")

    def show_error(self, error: LMChatError) -> None:
        self.warn(error.message_with_next_step)

    def notify_if_unfocused(self, text: str) -> None:
        """Do so also while the terminal has told nothing about the focus."""
        if not (self.app.app_focus and self.app.is_focus_reported):
            write_to_terminal(self.app, self.workspace.platform.notification(text))

    async def ask(self, dialog: Screen[Any]) -> Any:
        """Show a dialog from a worker; None if the user left it."""
        return await self.app.push_screen_wait(dialog)

    def open_dialog(
        self, dialog: Screen[Any], use_result: Callable[[Any], Any] | None = None
    ) -> None:
        """`use_result` gets the result, unless the user has left the dialog without one."""

        def use(result: Any) -> None:
            if result is not None and use_result is not None:
                use_result(result)

        self.app.push_screen(dialog, use)

    # Workers

    def start(
        self,
        work: Work,
        group: str,
        *,
        is_only: bool = False,
        holds_keys: bool = False,
    ) -> None:
        """Run work in a worker, and show the `LMChatError` that it raises.

        `stop` finds workers by `group`. `is_only` cancels earlier ones of the group. With
        `holds_keys`, keys that follow wait until the work ends or opens a dialog: for short work
        that may open one, or move the focus.
        """
        run = partial(self._run, work)
        worker: Worker[None] = self.screen.run_worker(
            run, name=group, group=group, exclusive=is_only
        )
        if holds_keys:
            screens = self.app.screen_stack
            self.app.key_queue.hold_while(
                lambda: not worker.is_finished and self.app.screen_stack == screens
            )

    async def _run(self, work: Work) -> None:
        """Textual gives any other error to `LMChatApp.report_failure`."""
        try:
            await work()
        except LMChatError as error:
            self.show_error(error)
        finally:
            self.show_changes()

    def start_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return self.screen.set_timer(delay_s, callback)

    def stop(self, group: str) -> bool:
        """Cancel the workers of a group; return whether there were any."""
        return bool(self.screen.workers.cancel_group(self.screen, group))

    def suspend_for(self, work: Work) -> None:
        """Run work that uses the terminal for another program, one at a time."""
        workers = [worker for worker in self.app.workers if worker.group == _OTHER_PROGRAM]
        if all(worker.is_finished for worker in workers):
            self.start(partial(self._run_on_terminal, work), _OTHER_PROGRAM)

    async def _run_on_terminal(self, work: Work) -> None:
        async with self.app.suspended():
            await work()

    def show_in_pager(self, text: str) -> None:
        self.suspend_for(partial(self.workspace.platform.show_in_pager, text))

    def copy(self, text: str, note: str = "") -> None:
        """`note` says which part of a message it is, such as `Block 2 of 3`."""
        text = copyable(text)
        remember_copied(self.app, text)  # for Ctrl+V in lmchat
        self.start(partial(self._copy, text, note), "copy", is_only=True)

    async def _copy(self, text: str, note: str) -> None:
        tool = await self.workspace.platform.copy(text)
        if not tool:
            write_to_terminal(self.app, self.workspace.platform.terminal_copy(text))
        self.notify(f"{note}: copied." if note else "Copied.")

    def remember(self, change: Change) -> None:
        """Change the state, also on the disk."""
        self.workspace.state = change(self.workspace.state)
        self.start(partial(self._write_change, change), "remember")

    async def wait_until_remembered(self) -> None:
        """Wait until the changes of the state are written or refused."""
        async with self._remember_lock:
            pass

    async def _write_change(self, change: Change) -> None:
        async with self._remember_lock:  # else a later change may be written first
            try:
                await self.workspace.platform.remember(change)
                self.set_warning("state", "")
            except LMChatError as error:
                self.set_warning("state", error.message)
