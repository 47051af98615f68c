"""Files of the user, only read: chats to import, and texts for the prompt.

A session is imported once and whole, or not at all.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import now
from lmchat.domain.session import Session, SessionHeader, Skipped
from lmchat.errors import FileRefused, FormatUnknown, LMChatError, SessionNotFound, StoreUnavailable
from lmchat.files import path_of
from lmchat.services.ports import ChatStore
from lmchat.text import safe_line

_TITLE = 80
Chat = Session | Skipped
Place = tuple[str, str, Path]  # format, name of the program, file or folder
_TOLD_S = 0.25
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

    imported: list[tuple[str, Imported]] = []
    refused: list[tuple[str, LMChatError]] = []
    untried: list[str] = []
    """Files after one that could not be stored, as on a full disk."""
    unknown: list[tuple[str, str]] = []
    """Files without chats, with the folder that they are in."""


class Survey(Struct, kw_only=True):
    """Chats of a program on this machine."""

    source: str
    program: str
    paths: list[str] = []
    chats: int = 0
    messages: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @property
    def words(self) -> str:
        days = " to ".join(dict.fromkeys(f"{day:%Y-%m-%d}" for day in (self.first, self.last) if day))
        return f"{self.program}: {counted(self.chats, self.messages)}, {days} ({', '.join(self.paths)})"


class Importer:
    """Importer of files and folders for the command line and the screen.

    `tell` gets the numbers of chats and messages a few times a second, after `quiet_s`.
    """

    def __init__(
        self,
        store: ChatStore,
        *,
        clock: Callable[[], datetime] = now,
        find: Callable[[], Sequence[Place]] = tuple,
        tell: Callable[[int, int], None] = lambda _, __: None,
        quiet_s: float = 2.0,
    ) -> None:
        """`find` returns the places of other programs on this machine."""
        self._store, self._clock, self._find = store, clock, find
        self.tell, self._quiet_s = tell, quiet_s

    async def bring(
        self,
        names: Sequence[str],
        *,
        piped: Mapping[str, bytes] = MappingProxyType({}),
        source: str = "auto",
        is_trial: bool = False,
        into: Done | None = None,
    ) -> Done:
        """Import files and folders; `piped` was read already. A refused file does not stop the others.

        When cancelled, it keeps what was imported; `into` then has the outcome so far.
        """
        from lmchat.formats.reading import Reader  # noqa: PLC0415 - the first paint does not wait for formats

        done = Done() if into is None else into
        progress = _Progress(self.tell, self._quiet_s)
        found = await self._each(names, piped, done)
        for number, (name, folder) in enumerate(found.items(), 1):
            reader = Reader(self._clock(), source)
            chats = reader.data(piped[name]) if name in piped else reader.file(Path(name))
            try:
                async with aclosing(_in_thread(chats)) as read:
                    await self._bring_file(name, read, done, progress, is_trial=is_trial)
            except FormatUnknown as error:
                if folder:
                    done.unknown.append((name, folder))
                else:
                    done.refused.append((name, _naming(name, error)))
            except LMChatError as error:
                done.refused.append((name, _naming(name, error)))
                if isinstance(error, StoreUnavailable):
                    done.untried += list(found)[number:]
                    break
        return _without_empty_folders(done)

    async def programs(self) -> list[str]:
        """Return the names of the programs that may have chats on this machine."""
        return list(dict.fromkeys(program for _, program, _ in await asyncio.to_thread(self._find)))

    async def survey(self) -> list[Survey]:
        """Count the chats in the places of other programs; what cannot be read is left out."""
        from lmchat.formats.reading import Reader  # noqa: PLC0415 - the first paint does not wait for formats

        surveys: dict[str, Survey] = {}
        progress = _Progress(self.tell, self._quiet_s)
        for source, program, path in await asyncio.to_thread(self._find):
            one = surveys.setdefault(source, Survey(source=source, program=program))
            one.paths.append(str(path))
            for name in await self._each([str(path)], {}, Done()):
                chats = Reader(self._clock(), source).file(Path(name))
                with suppress(LMChatError):
                    async with aclosing(_in_thread(chats)) as read:
                        async for chat in read:
                            if isinstance(chat, Session):
                                _count(one, chat.header)
                                progress.add(chat.header)
        return [one for one in surveys.values() if one.chats]

    async def _each(self, names: Sequence[str], piped: Mapping[str, bytes], done: Done) -> dict[str, str]:
        """Return the files, each with the folder that was named for it."""
        from lmchat.formats.reading import BESIDE, ENDINGS  # noqa: PLC0415 - the first paint does not wait for formats

        found: dict[str, str] = {}
        for name in names:
            try:
                if name in piped:
                    found[name] = ""
                    continue
                path = path_of(name)
                paths = await asyncio.to_thread(_files_of, path, ENDINGS, BESIDE)
                folder = "" if paths == (path,) else name
                found |= {str(one): folder for one in paths if str(one) not in found}
            except LMChatError as error:
                done.refused.append((name, error))
        return found

    async def _bring_file(
        self, name: str, chats: AsyncIterator[Chat], done: Done, progress: _Progress, *, is_trial: bool
    ) -> None:
        skipped: list[Skipped] = []
        is_first = True
        async for one in chats:
            if isinstance(one, Skipped):
                skipped.append(one)
                continue
            told = await self._bring_one(one, tuple(skipped), is_trial=is_trial)
            done.imported.append((name, told))
            progress.add(one.header)
            is_first = False
            skipped.clear()
        if skipped and not is_first:
            _, last = done.imported[-1]
            done.imported[-1] = name, replace(last, skipped=(*last.skipped, *skipped))

    async def _bring_one(self, session: Session, skipped: tuple[Skipped, ...], *, is_trial: bool) -> Imported:
        for data in () if is_trial else session.files.values():
            await self._store.save_file(data)
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


def counted(chats: int, messages: int) -> str:
    """Return the numbers as words: `2 chats, 1 message`."""
    return f"{chats} chat{'' if chats == 1 else 's'}, {messages} message{'' if messages == 1 else 's'}"


def summary(found: Sequence[Imported]) -> str:
    """Return the outcome for many sessions, without a full stop."""
    there = sum(one.is_there for one in found)
    known = f", {there} already existed" if there else ""
    return f"{len(found) - there} sessions imported{known}"


def _naming(name: str, error: LMChatError) -> LMChatError:
    reason = error.message
    name = "stdin" if name == "-" else name
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(f"{name} was not imported: {reason}", hint=error.hint, details=error.details)
    reason = reason[:1].lower() + reason[1:]
    return FileRefused(f"{name} was not imported: {reason}", hint=error.hint, details=error.details)


def _without_empty_folders(done: Done) -> Done:
    """Refuse the folders of which no file has a chat."""
    tried = [name for name, _ in (*done.imported, *done.refused)]
    for folder in dict.fromkeys(folder for _, folder in done.unknown):
        if not any(Path(name).is_relative_to(path_of(folder)) for name in tried):
            message = f"{folder} has no chats that lmchat can read."
            done.refused.append(
                (folder, FileRefused(message, hint="`lmchat import --help` lists the formats."))
            )
    return done


def _files_of(path: Path, endings: tuple[str, ...], beside: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the files of a folder and of those in it, without hidden ones; any other path as it is."""
    if not path.is_dir():
        return (path,)
    errors: list[OSError] = []
    found: list[Path] = []
    for folder, folders, names in os.walk(path, onerror=errors.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = (name for name in sorted(names) if not name.startswith(".") and name not in beside)
        found += (Path(folder, name) for name in shown if name.lower().endswith(endings))
    if not found and errors:
        raise FileRefused(f"{path} cannot be read: {errors[0].strerror}.", hint="Check the path.")
    if not found:
        message = f"{path} has no file that ends with {', '.join(endings)}."
        raise FileRefused(message, hint="Name a file, or another folder.")
    return tuple(found)


async def _in_thread(chats: Generator[Chat, None, None]) -> AsyncGenerator[Chat, None]:
    """Read chats in threads, one after the other."""
    try:
        while (one := await asyncio.to_thread(next, chats, None)) is not None:
            yield one
    except OSError as error:
        reason = "it is too large" if error.errno == errno.EFBIG else error.strerror or str(error)
        raise FileRefused(f"It cannot be read: {reason}.", hint="Check the path.") from error
    finally:
        with suppress(ValueError):  # when cancelled, a thread may still read it
            chats.close()


class _Progress:
    """Numbers of chats and messages, told a few times a second."""

    def __init__(self, tell: Callable[[int, int], None], quiet_s: float) -> None:
        self._tell = tell
        self._chats = self._messages = 0
        self._next_s = monotonic() + quiet_s

    def add(self, header: SessionHeader) -> None:
        self._chats += 1
        self._messages += header.message_count
        if (now_s := monotonic()) >= self._next_s:
            self._next_s = now_s + _TOLD_S
            self._tell(self._chats, self._messages)


def _count(one: Survey, header: SessionHeader) -> None:
    one.chats += 1
    one.messages += header.message_count
    one.first = min(one.first or header.created_at, header.created_at)
    one.last = max(one.last or header.updated_at, header.updated_at)
