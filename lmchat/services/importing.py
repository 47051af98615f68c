"""Bringing chats over: files become sessions, each once and whole, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from lmchat.domain.message import now
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import FileRefused, LMChatError, SessionNotFound
from lmchat.formats.reading import Reading, read
from lmchat.formats.skipped import Skipped
from lmchat.formats.soundness import renamed
from lmchat.safe_text import safe_line
from lmchat.services.ports import SessionStore

_SHORT_ID = 8


class ChatFiles(Protocol):
    """The files of a disk; all of it blocks and may raise `FileRefused`."""

    def files_of(self, path: Path) -> Sequence[Path]:
        """Return the file, or those of a folder that may be exports."""
        ...

    def read(self, path: Path) -> bytes:
        """Return what a file holds."""
        ...


class Imported(Struct, frozen=True, kw_only=True):
    """What became of one session of a file."""

    header: SessionHeader
    """As it stands in the list; of a trial, as it would."""
    is_there: bool = False
    """Whether it was there before, and was left as it is; perhaps in the trash."""
    beside: int = 0
    """Messages that are not on its path."""
    skipped: tuple[Skipped, ...] = ()
    """What of the file was left out."""


class Importer:
    """What the command line and the screen import with."""

    def __init__(self, store: SessionStore, files: ChatFiles, *, clock: Callable[[], datetime] = now) -> None:
        self._store, self._files, self._clock = store, files, clock

    async def files_of(self, path: Path) -> Sequence[Path]:
        """Return the file, or those of a folder; raises `FileRefused` where it has none."""
        return await asyncio.to_thread(self._files.files_of, path)

    async def bring_file(
        self, path: Path, *, is_trial: bool = False, is_copy: bool = False
    ) -> tuple[Imported, ...]:
        """Import what a file holds; a trial writes nothing, and a copy gets an id of its own.

        Raises:
            FileRefused: it cannot be read, or is no chat; then nothing of it was written.
        """
        data = await asyncio.to_thread(self._files.read, path)
        return await self.bring(data, is_trial=is_trial, is_copy=is_copy)

    async def bring(
        self, data: bytes, *, is_trial: bool = False, is_copy: bool = False
    ) -> tuple[Imported, ...]:
        """Import what was read elsewhere."""
        found = await asyncio.to_thread(_read, data, self._clock(), is_copy=is_copy)
        return tuple(
            [await self._bring_one(session, found.skipped, is_trial=is_trial) for session in found.sessions]
        )

    async def _bring_one(self, session: Session, skipped: tuple[Skipped, ...], *, is_trial: bool) -> Imported:
        there = await (self._header_of(session) if is_trial else self._store.import_session(session))
        if there is not None:
            return Imported(header=there, is_there=True)
        return Imported(header=session.header, beside=len(session.branches), skipped=skipped)

    async def _header_of(self, session: Session) -> SessionHeader | None:
        """Return the session that has the same id, if there is one."""
        try:
            session_id = await self._store.find(session.header.session_id)
        except SessionNotFound:
            return None
        return (await self._store.open_end(session_id, count=1)).header


def _read(data: bytes, moment: datetime, *, is_copy: bool) -> Reading:
    found = read(data, moment=moment)
    sessions = tuple(renamed(session) if is_copy else session for session in found.sessions)
    return Reading(sessions=sessions, skipped=found.skipped)


def sentence(one: Imported, *, is_trial: bool = False) -> str:
    """Say what became of a session."""
    header = one.header
    title, short = f"“{safe_line(header.title) or 'Untitled'}”", header.session_id[:_SHORT_ID]
    if one.is_there and header.deleted_at is not None:
        return f"{title} is in the trash; `lmchat sessions restore {short}` brings it back."
    if one.is_there:
        return f"{title} is there already, as {short}; --copy imports it once more."
    count = f"{header.message_count} message{'' if header.message_count == 1 else 's'}"
    beside = f", {one.beside} of them on other branches" if one.beside else ""
    return f"{'would import ' if is_trial else ''}{title}, {count}{beside}"


def naming(name: str, error: LMChatError) -> LMChatError:
    """Return the refusal of a file with the file's name in it; other errors stay as they are."""
    if not isinstance(error, FileRefused):
        return error
    reason = error.message[:1].lower() + error.message[1:]
    return FileRefused(f"{name} was not imported: {reason}", hint=error.hint, details=error.details)
