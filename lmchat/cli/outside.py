"""What the screen may do beyond servers and sessions; each part is imported when it is first wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from lmchat.cli.parts import Parts
from lmchat.config.settings import Settings
from lmchat.domain.candidate import Remembered
from lmchat.domain.server import Endpoint
from lmchat.services.late import LateBackend
from lmchat.services.workspace import Outside
from lmchat.storage import state as remembered_file


def make_outside(
    settings: Settings, parts: Parts, backend: LateBackend, write: Callable[[str], bool]
) -> Outside:
    """Return what the screen may do to the rest of the world."""
    ways = _Ways(settings, parts, backend, write)
    return Outside(
        copy=ways.copy,
        examination=ways.examination,
        edit=ways.edit,
        page=ways.page,
        open_page=ways.open_page,
        read_text=ways.read_text,
        remember=ways.remember,
        keep_key=ways.keep_key,
        notification=ways.notification,
        note_error=parts.note_error,
        log_file=str(parts.paths.log_file),
    )


class _Ways:
    """The ways to terminal, disk and other programs."""

    def __init__(
        self, settings: Settings, parts: Parts, backend: LateBackend, write: Callable[[str], bool]
    ) -> None:
        self._settings, self._parts, self._backend, self._write = settings, parts, backend, write

    @cached_property
    def _clipboard(self) -> Any:
        from lmchat.terminal.clipboard import Clipboard

        file = self._parts.paths.state_dir / "copied.txt"
        return Clipboard(environ=self._parts.environ, write=self._write, file=file)

    async def copy(self, text: str) -> str:
        way = await self._clipboard.copy(text)
        return str(way.words)

    def examination(self) -> Any:
        from lmchat.cli.doctor_checks import examination

        return examination(self._parts, self._backend.ready, self._clipboard)

    async def edit(self, text: str) -> str:
        from lmchat.terminal.editor import edit_text

        return await edit_text(text, environ=self._parts.environ)

    async def page(self, text: str) -> None:
        from lmchat.terminal.editor import page_text

        await page_text(text, environ=self._parts.environ)

    async def open_page(self, address: str) -> bool:
        from lmchat.terminal.desktop import open_page

        return await open_page(address, environ=self._parts.environ)

    async def read_text(self, path: str) -> str:
        from lmchat.storage.import_ import read_as_block

        return await asyncio.to_thread(read_as_block, path)

    async def remember(self, remembered: Remembered) -> None:
        await asyncio.to_thread(remembered_file.save, self._parts.paths.remembered_file, remembered)

    async def keep_key(self, endpoint: Endpoint, key: str) -> str:
        from lmchat.cli.wiring import keys_of

        return await asyncio.to_thread(keys_of(self._parts).keep, endpoint, key)

    def notification(self, words: str) -> str:
        from lmchat.terminal.desktop import notification

        return notification(self._settings.ui.notify, words, self._parts.environ)


def write_export(path: Path, text: str, *, is_forced: bool = False) -> None:
    """Write a session into a new file; runs in a thread.

    Raises:
        FileRefused: something has this name already, or the file cannot be written.
    """
    from lmchat.files import write_new_file

    write_new_file(path, text, is_forced=is_forced)
