"""Files of the user, only read: chats to import, and texts for the prompt.

A session is imported once and whole, or not at all.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from lmchat.domain.message import as_attached, now
from lmchat.domain.session import Session, SessionHeader, Skipped
from lmchat.errors import FileRefused, LMChatError, SessionNotFound, StoreUnavailable
from lmchat.files import path_of, read_plain
from lmchat.services.ports import ChatStore
from lmchat.text import safe_line

_TITLE = 80
LARGEST_BYTES = 256 << 20  # more than ten thousand long answers; reading takes several times as much memory
TOO_LARGE = f"larger than {LARGEST_BYTES >> 20} MB"
LARGEST_TEXT_BYTES = 1_000_000  # more than the context window of any local model


class Imported(Struct, frozen=True, kw_only=True):
    """Outcome for one session of a file."""

    header: SessionHeader
    is_there: bool = False
    """Whether it was there before, perhaps in the trash, and is unchanged."""
    told: int = 0
    beside: int = 0
    skipped: tuple[Skipped, ...] = ()


class Done(Struct, kw_only=True):
    """Outcome for several files."""

    imported: list[tuple[str, Imported]]
    refused: list[tuple[str, LMChatError]]
    untried: list[str]
    """Files after one that could not be stored, as on a full disk."""


class Importer:
    """Importer of files and folders for the command line and the screen."""

    def __init__(self, store: ChatStore, *, clock: Callable[[], datetime] = now) -> None:
        self._store, self._clock = store, clock

    async def bring(
        self,
        names: Sequence[str],
        *,
        piped: Mapping[str, bytes] = MappingProxyType({}),
        is_trial: bool = False,
    ) -> Done:
        """Import files and folders; `piped` was read already. A refused file does not stop the others."""
        from lmchat.formats.reading import read  # noqa: PLC0415 - the first paint does not wait for formats

        done = Done(imported=[], refused=[], untried=[])
        found = await self._each(names, piped, done)
        for number, name in enumerate(found, 1):
            try:
                data = piped[name] if name in piped else await asyncio.to_thread(_bytes_of, Path(name))
                read_file = await asyncio.to_thread(read, data, moment=self._clock())
                for session in read_file.sessions:
                    one = await self._bring_one(session, read_file.skipped, is_trial=is_trial)
                    done.imported.append((name, one))
            except LMChatError as error:
                done.refused.append((name, _naming(name, error)))
                if isinstance(error, StoreUnavailable):
                    done.untried += found[number:]
                    break
        return done

    async def _each(self, names: Sequence[str], piped: Mapping[str, bytes], done: Done) -> list[str]:
        from lmchat.formats.reading import ENDINGS  # noqa: PLC0415 - the first paint does not wait for formats

        found: dict[str, None] = {}
        for name in names:
            try:
                if name in piped:
                    found[name] = None
                else:
                    paths = await asyncio.to_thread(_files_of, path_of(name), ENDINGS)
                    found |= dict.fromkeys(map(str, paths))
            except LMChatError as error:
                done.refused.append((name, error))
        return list(found)

    async def _bring_one(self, session: Session, skipped: tuple[Skipped, ...], *, is_trial: bool) -> Imported:
        there = await (self._header_of(session) if is_trial else self._store.import_session(session))
        told = session.header.message_count
        if there is not None:
            return Imported(header=there, is_there=True, told=told)
        return Imported(header=session.header, told=told, beside=len(session.branches), skipped=skipped)

    async def _header_of(self, session: Session) -> SessionHeader | None:
        try:
            session_id = await self._store.find(session.header.session_id)
        except SessionNotFound:
            return None
        return (await self._store.open_session(session_id, count=1)).header


def sentence(one: Imported, *, is_trial: bool = False) -> str:
    """Return the outcome for a session, without a full stop."""
    header = one.header
    title = f"“{safe_line(header.title, limit=_TITLE) or 'Untitled'}”"
    if one.is_there and header.deleted_at is not None:
        return f"{title} is in the trash"
    count = f"{header.message_count} message{'' if header.message_count == 1 else 's'}"
    if one.is_there:
        more = f" with {count}, and the file has {one.told}" if one.told > header.message_count else ""
        return f"{title} already exists{more}"
    beside = f", {one.beside} of them on other branches" if one.beside else ""
    return f"{title}{' would be imported' if is_trial else ''}, {count}{beside}"


def _naming(name: str, error: LMChatError) -> LMChatError:
    reason = error.message
    name = "stdin" if name == "-" else name
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(f"{name} was not imported: {reason}", hint=error.hint, details=error.details)
    reason = reason[:1].lower() + reason[1:]
    return FileRefused(f"{name} was not imported: {reason}", hint=error.hint, details=error.details)


def _files_of(path: Path, endings: tuple[str, ...]) -> tuple[Path, ...]:
    if not path.is_dir():
        return (path,)
    try:
        found = sorted(
            one
            for one in path.iterdir()
            if one.suffix.lower() in endings and not one.name.startswith(".") and not one.is_dir()
        )
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    if not found:
        message = f"{path} has no file that ends with {', '.join(endings)}."
        raise FileRefused(message, hint="Name a .json or .md file.")
    return tuple(found)


def _bytes_of(path: Path) -> bytes:
    try:
        return read_plain(path, limit=LARGEST_BYTES)
    except OSError as error:
        reason = f"it is {TOO_LARGE}" if error.errno == errno.EFBIG else error.strerror or str(error)
        raise FileRefused(f"It cannot be read: {reason}.", hint="Check the path.") from error


def read_as_block(name: str) -> str:
    """Return a text file as a fenced block; raises `FileRefused` for other files."""
    path = path_of(name)
    try:
        data = read_plain(path, limit=LARGEST_TEXT_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            message = f"{safe_line(path.name)} is larger than 1 MB."
            raise FileRefused(message, hint="Save the part you need as a separate file.") from error
        raise FileRefused(f"{name} cannot be read: {error.strerror}.", hint="Check the path.") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise FileRefused(f"{path.name} is not a text file.", hint="Only UTF-8 text can be sent.")
    language = re.sub(r"[\s`]", "", path.suffix.removeprefix("."))
    return as_attached(safe_line(path.name), len(data), text, language)
