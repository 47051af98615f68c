"""Files of the user, only read: chats to import, and texts for the prompt.

A session is imported once and whole, or not at all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.imported import as_imported, count_dropped_calls
from lmchat.domain.message import now
from lmchat.domain.session import Session, SessionHeader, Skipped
from lmchat.errors import FileRefused, FormatUnknown, LMChatError, StoreUnavailable
from lmchat.files import path_of
from lmchat.machine.other_programs import ChatPlace
from lmchat.services.chat_files import ChatFiles
from lmchat.services.ports import ChatStore
from lmchat.text import plural, safe_line

_TITLE = 80
Chat = Session | Skipped
_TOLD_S = 0.25


class _ToImport(Struct, frozen=True, kw_only=True):
    """Files and folders to import."""

    names: Sequence[str]
    piped: Mapping[str, bytes] = MappingProxyType({})
    source: str = "auto"
    is_trial: bool = False


class Imported(Struct, frozen=True, kw_only=True):
    """Outcome for one session of a file."""

    header: SessionHeader
    is_there: bool = False  # whether it was there before, perhaps in the trash, and is unchanged
    told: int = 0  # messages that the file has
    beside: int = 0
    skipped: tuple[Skipped, ...] = ()


class Done(Struct, kw_only=True):
    """Outcome for several files."""

    imported: list[tuple[str, Imported]] = []
    refused: list[tuple[str, LMChatError]] = []
    untried: list[str] = []  # files after one that could not be stored, as on a full disk
    unknown: list[str] = []  # files of folders without chats

    @property
    def chats(self) -> list[Imported]:
        return [one for _, one in self.imported]


class Survey(Struct, kw_only=True):
    """Chats of a program on this machine."""

    source: str
    program: str
    paths: list[str] = []
    found: list[Imported] = []
    unreadable: int = 0  # files that cannot be read

    @property
    def is_known(self) -> bool:
        """Whether all of them were imported before."""
        return all(one.is_there for one in self.found)

    @property
    def words(self) -> str:
        days = [
            min(one.header.created_at for one in self.found),
            max(one.header.updated_at for one in self.found),
        ]
        dates = " to ".join(dict.fromkeys(f"{day:%Y-%m-%d}" for day in days))
        there = sum(one.is_there for one in self.found)
        known = f"{plural(there, 'chat')} already imported, " if there else ""
        known += f"{plural(self.unreadable, 'file')} cannot be read, " if self.unreadable else ""
        return f"{self.program}: {counted(self.found)}, {known}{dates} ({', '.join(self.paths)})"


class Importer:
    """Importer of files and folders for the command line and the screen.

    `tell` gets the numbers of chats and messages a few times a second, after `quiet_s`.
    """

    def __init__(
        self,
        store: ChatStore,
        *,
        clock: Callable[[], datetime] = now,
        find: Callable[[], Sequence[ChatPlace]] = tuple,
        tell: Callable[[str], None] = lambda _: None,
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
        done = Done() if into is None else into
        async with aclosing(ChatFiles()) as files, self._progress(done):
            wanted = _ToImport(names=names, piped=piped, source=source, is_trial=is_trial)
            await self._bring(wanted, files, done)
        return done

    async def _bring(self, wanted: _ToImport, files: ChatFiles, done: Done) -> None:
        known = await self._known() if wanted.is_trial else None
        piped = wanted.piped
        found = await self._each(wanted.names, piped, done)
        for number, (name, folder) in enumerate(found.items(), 1):
            path = None if name in piped else Path(name)
            content = piped.get(name, b"")
            chats = files.chats(path, content, source=wanted.source, moment=self._clock())
            try:
                async with aclosing(chats):
                    await self._bring_file(name, chats, done, known)
            except LMChatError as error:
                if folder and isinstance(error, FormatUnknown):
                    done.unknown.append(name)
                    continue
                is_begun = any(name == other for other, _ in done.imported[-1:])
                done.refused.append((name, _naming(name, error, is_begun=is_begun)))
                if isinstance(error, StoreUnavailable):
                    done.untried += list(found)[number:]
                    break
        unknown = {*done.unknown}
        for folder in dict.fromkeys(found[name] for name in done.unknown if name in found):
            if all(name in unknown for name, other in found.items() if other == folder):
                message = f"{folder} has no chats that lmchat can read."
                hint = "`lmchat import --help` lists the formats."
                done.refused.append((folder, FileRefused(message, hint=hint)))

    @asynccontextmanager
    async def _progress(self, done: Done) -> AsyncIterator[None]:
        """Tell the numbers while the body runs, also while a large file has given no chat yet."""

        async def tell() -> None:
            await asyncio.sleep(self._quiet_s)
            while True:
                self.tell(counted(done.chats))
                await asyncio.sleep(_TOLD_S)

        telling = asyncio.create_task(tell(), name="progress of an import")
        try:
            yield
        finally:
            telling.cancel()

    async def programs(self) -> list[str]:
        """Return the names of the programs that may have chats on this machine."""
        return list(dict.fromkeys(place.program for place in await asyncio.to_thread(self._find)))

    async def survey(self) -> list[Survey]:
        """Count the chats in the places of other programs; what cannot be read is left out."""
        surveys: dict[str, Survey] = {}
        done = Done()
        async with aclosing(ChatFiles()) as files, self._progress(done):
            for place in await asyncio.to_thread(self._find):
                name = str(place.path)
                before, refused = len(done.imported), len(done.refused)
                await self._bring(
                    _ToImport(names=[name], source=place.source, is_trial=True), files, done
                )
                found = surveys.setdefault(
                    place.source, Survey(source=place.source, program=place.program)
                )
                found.paths.append(name)
                found.found += done.chats[before:]
                found.unreadable += sum(refusal != name for refusal, _ in done.refused[refused:])
        return [one for one in surveys.values() if one.found]

    async def _each(
        self, names: Sequence[str], piped: Mapping[str, bytes], done: Done
    ) -> dict[str, str]:
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

    async def _known(self) -> dict[str, SessionHeader]:
        """Return the headers of all sessions by their ids, also of those in the trash."""
        lists = [await self._store.list_sessions(is_trash=is_trash) for is_trash in (False, True)]
        return {one.session_id: one for headers in lists for one in headers}

    async def _bring_file(
        self,
        name: str,
        chats: AsyncIterator[Chat],
        done: Done,
        known: Mapping[str, SessionHeader] | None,
    ) -> None:
        """Write each chat of a file, or look it up in the known ones, if there are any."""
        skipped: list[Skipped] = []
        last: Imported | None = None
        async for found in chats:
            if isinstance(found, Skipped):
                skipped.append(found)
                continue
            one = as_imported(found)
            if dropped := count_dropped_calls(found, one):
                words = f"{plural(dropped, 'tool call')} without a result left out"
                title = safe_line(one.header.title, limit=_TITLE)
                skipped.append(Skipped(where=f"“{title}”", reason=words))
            if not one.messages:
                continue
            if known is None:
                for data in one.files.values():
                    await self._store.save_file(data)
                there = await self._store.import_session(one)
            else:
                there = known.get(one.header.session_id)
            last = Imported(
                header=there or one.header,
                is_there=there is not None,
                told=one.header.message_count,
                beside=0 if there else len(one.branches),
                skipped=() if there else tuple(skipped),
            )
            done.imported.append((name, last))
            skipped.clear()
        if skipped and last is not None:
            done.imported[-1] = name, replace(last, skipped=(*last.skipped, *skipped))
        elif skipped:
            why = f"{skipped[0].where}: {skipped[0].reason}"
            raise FileRefused(
                f"It has no readable messages ({why}).", hint="Export the chats again."
            )


def sentence(one: Imported, *, is_trial: bool = False) -> str:
    """Return the outcome for a session, without a full stop."""
    header = one.header
    title = f"“{safe_line(header.title, limit=_TITLE) or 'Untitled'}”"
    if one.is_there and header.deleted_at is not None:
        return f"{title} is in the trash"
    count = plural(header.message_count, "message")
    if one.is_there:
        more = (
            f" with {count}, and the file has {one.told}" if one.told > header.message_count else ""
        )
        return f"{title} already exists{more}"
    beside = f", {one.beside} of them on other branches" if one.beside else ""
    return f"{title}{' would be imported' if is_trial else ''}, {count}{beside}"


def counted(found: Sequence[Imported], unit: str = "chat") -> str:
    """Return the numbers as words: `2 chats, 1 message`."""
    return f"{plural(len(found), unit)}, {plural(sum(one.told for one in found), 'message')}"


def summary(found: Sequence[Imported], *, programs: int = 0, is_trial: bool = False) -> str:
    """Return the outcome for many sessions, without a full stop."""
    fresh = [one for one in found if not one.is_there]
    known = f", {len(found) - len(fresh)} already existed" if len(fresh) < len(found) else ""
    source = f" from {plural(programs, 'program')}" if programs else ""
    verb = "would be imported" if is_trial else "imported"
    return f"{counted(fresh, 'session')} {verb}{source}{known}"


def _naming(name: str, error: LMChatError, *, is_begun: bool) -> LMChatError:
    how = f"{'stdin' if name == '-' else name} was {'imported only in part' if is_begun else 'not imported'}"
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(f"{how}: {error.message}", hint=error.hint, details=error.details)
    reason = error.message[:1].lower() + error.message[1:]
    return FileRefused(f"{how}: {reason}", hint=error.hint, details=error.details)


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
