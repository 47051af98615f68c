"""Access of the screen to the clipboard, to files and to other programs of this machine.

Modules that the first paint does not need are imported where they are used.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

from lmchat.attachments.folders import FileFinder
from lmchat.attachments.shell_command import ShellCommand
from lmchat.chat.ports import ServerClient
from lmchat.cli.context import Context
from lmchat.cli.doctor import examine
from lmchat.cli.wiring import keys_of
from lmchat.config.settings import Settings
from lmchat.config.state import Change, change_state
from lmchat.doctor.report import CheckResult
from lmchat.servers.endpoint import Endpoint
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.programs import edit_text, notification, open_file, open_page, page_text


class ScreenPlatform:
    """The `Platform` of the screen; `workspace.py` describes these methods."""

    def __init__(
        self,
        context: Context,
        settings: Settings,
        backend: ServerClient,
        folders: ExitStack,
    ) -> None:
        self.log_file = str(context.paths.log_file)
        self.config_file = context.config_file
        self._context = context
        self._settings = settings
        self._backend = backend
        self._folders = folders  # temporary ones
        self._environ = context.environ_of_programs
        clipboard = Clipboard(self._environ)
        self.copy = clipboard.copy
        self.paste = clipboard.paste
        self.paste_image = clipboard.paste_image
        self.find_files = FileFinder(Path()).find
        self.note_error = context.note_error

    async def examine(self) -> list[CheckResult]:
        return await examine(self._context, self._backend)

    async def edit(self, text: str) -> str:
        return await edit_text(text, environ=self._environ, folders=self._folders)

    async def page(self, text: str) -> None:
        await page_text(text, environ=self._environ)

    def shell_command(self, command: str) -> ShellCommand:
        return ShellCommand(command, self._environ)

    async def open_page(self, address: str) -> bool:
        return await open_page(address, environ=self._environ)

    async def open_file(self, name: str, data: bytes) -> bool:
        return await open_file(name, data, environ=self._environ, folders=self._folders)

    async def remember(self, change: Change) -> None:
        file = self._context.paths.state_file
        await asyncio.to_thread(change_state, file, change)

    async def keep_key(self, endpoint: Endpoint, key: str) -> None:
        await asyncio.to_thread(keys_of(self._context).keep, endpoint, key)

    def notification(self, words: str) -> str:
        return notification(self._settings.ui.notify, words, self._environ)
