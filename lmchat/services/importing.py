"""Import of chats from files, which are only read.

A session is imported once and whole, or not at all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.imported import as_imported, count_dropped_calls
from lmchat.domain.message import now
from lmchat.domain.session import Session, SessionHeader, Skipped
from lmchat.errors import FileRefused, FormatUnknown, LMChatError, StoreUnavailable
from lmchat.files import expanded_path
from lmchat.formats.table import AUTO
from lmchat.machine.other_programs import ChatPlace
from lmchat.services.chat_files import ChatFiles
from lmchat.services.ports import ChatStore
from lmchat.text import plural, safe_line

_STDIN = "-"
_LONGEST_TITLE = 80  # characters of a title in a sentence
_PROGRESS_S = 0.25  # between two reports of the progress


class ImportedChat(Struct, frozen=True, kw_only=True):
    """Session of a file: imported now, or known from before."""

    file: str
    header: SessionHeader
    was_known: bool = False  # perhaps in the trash; it was left as it is
    file_messages: int = 0  # messages that the file has
    branch_messages: int = 0  # those of them that are not on the path
    skipped: tuple[Skipped, ...] = ()


class ImportOutcome(Struct, kw_only=True):
    """Outcome of an import, or of a trial, as far as it has come."""

    chats: list[ImportedChat] = []
    refused: list[tuple[str, LMChatError]] = []  # names of files, and the reasons
    not_tried: list[str] = []  # files after one that could not be stored, as on a full disk
    unknown: list[str] = []  # files of folders without chats
    is_stopped: bool = False


class ProgramChats(Struct, kw_only=True):
    """Chats of a program on this machine."""

    source: str
    program: str
    paths: list[str] = []
    chats: list[ImportedChat] = []
    unreadable: int = 0  # files that cannot be read

    @property
    def is_known(self) -> bool:
        """Whether all of them were imported before."""
        return all(chat.was_known for chat in self.chats)

    @property
    def words(self) -> str:
        first_day = min(chat.header.created_at for chat in self.chats)
        last_day = max(chat.header.updated_at for chat in self.chats)
        dates = dict.fromkeys([f"{first_day:%Y-%m-%d}", f"{last_day:%Y-%m-%d}"])
        facts = [counted(self.chats)]
        if known := sum(chat.was_known for chat in self.chats):
            facts.append(f"{plural(known, 'chat')} already imported")
        if self.unreadable:
            facts.append(f"{plural(self.unreadable, 'file')} cannot be read")
        facts.append(" to ".join(dates))
        return f"{self.program}: {', '.join(facts)} ({', '.join(self.paths)})"


class Importer:
    """Importer of files and folders for the command line and the screen.

    `report_progress` gets the numbers of chats and messages a few times a second, after `quiet_s`.
    """

    def __init__(
        self,
        store: ChatStore,
        *,
        clock: Callable[[], datetime] = now,
        find: Callable[[], Sequence[ChatPlace]] = tuple,
        report_progress: Callable[[str], None] = lambda _: None,
        quiet_s: float = 2.0,
    ) -> None:
        """`find` returns the places of other programs on this machine."""
        self._store = store
        self._clock = clock
        self._find = find
        self.report_progress = report_progress
        self._quiet_s = quiet_s

    async def import_files(
        self,
        names: Sequence[str],
        *,
        stdin: bytes | None = None,
        source: str = AUTO,
        is_trial: bool = False,
        into: ImportOutcome | None = None,
    ) -> ImportOutcome:
        """Import files and folders; a refused file does not stop the others.

        `stdin` is the content of the file `-`. When cancelled, it keeps what was imported; then
        `into` has the outcome so far.
        """
        outcome = ImportOutcome() if into is None else into
        known = await self._known_headers() if is_trial else None
        async with self._run(outcome, known) as run:
            await run.import_all(await _files_of(names, stdin, outcome), source)
        return outcome

    async def programs(self) -> list[str]:
        """Return the names of the programs that may have chats on this machine."""
        places = await asyncio.to_thread(self._find)
        return list(dict.fromkeys(place.program for place in places))

    async def survey(self) -> list[ProgramChats]:
        """Count the chats in the places of other programs; what cannot be read is left out."""
        programs: dict[str, ProgramChats] = {}
        outcome = ImportOutcome()
        async with self._run(outcome, await self._known_headers()) as run:
            for place in await asyncio.to_thread(self._find):
                name = str(place.path)
                chats_before = len(outcome.chats)
                refused_before = len(outcome.refused)
                await run.import_all(await _files_of([name], None, outcome), place.source)
                refused = outcome.refused[refused_before:]
                found = programs.setdefault(
                    place.source, ProgramChats(source=place.source, program=place.program)
                )
                found.paths.append(name)
                found.chats += outcome.chats[chats_before:]
                found.unreadable += sum(file != name for file, _ in refused)
        return [program for program in programs.values() if program.chats]

    @asynccontextmanager
    async def _run(
        self, outcome: ImportOutcome, known: Mapping[str, SessionHeader] | None
    ) -> AsyncIterator[_ImportRun]:
        """Start a run, and report its progress, also before a large file has given a chat."""

        async def report() -> None:
            await asyncio.sleep(self._quiet_s)
            while True:
                self.report_progress(counted(outcome.chats))
                await asyncio.sleep(_PROGRESS_S)

        reporting = asyncio.create_task(report(), name="progress of an import")
        try:
            async with aclosing(ChatFiles()) as chat_files:
                yield _ImportRun(self._store, chat_files, outcome, known, self._clock)
        except asyncio.CancelledError:
            outcome.is_stopped = True
            raise
        finally:
            reporting.cancel()

    async def _known_headers(self) -> dict[str, SessionHeader]:
        """Return the headers of all sessions by their ids, also of those in the trash."""
        saved = await self._store.list_sessions()
        deleted = await self._store.list_sessions(is_trash=True)
        return {header.session_id: header for header in (*saved, *deleted)}


class _NamedFile(Struct, frozen=True, kw_only=True):
    """File to import."""

    name: str
    content: Path | bytes
    folder: str = ""  # the folder that was named instead of the file


class _ImportRun:
    """Import of files into a store, or a trial that looks their sessions up in the known ones."""

    def __init__(
        self,
        store: ChatStore,
        chat_files: ChatFiles,
        outcome: ImportOutcome,
        known: Mapping[str, SessionHeader] | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._chat_files = chat_files
        self._outcome = outcome
        self._known = known
        self._clock = clock

    async def import_all(self, files: Sequence[_NamedFile], source: str) -> None:
        """Import the chats of each file, and note in the outcome what was refused."""
        unknown: set[str] = set()
        for number, file in enumerate(files, 1):
            chats = self._chat_files.chats(file.content, source=source, moment=self._clock())
            try:
                async with aclosing(chats):
                    await self._import_chats(file.name, chats)
            except LMChatError as error:
                if file.folder and isinstance(error, FormatUnknown):
                    unknown.add(file.name)
                    self._outcome.unknown.append(file.name)
                    continue
                self._refuse(file.name, error)
                if isinstance(error, StoreUnavailable):
                    self._outcome.not_tried += [other.name for other in files[number:]]
                    break

        with_chats = {file.folder for file in files if file.name not in unknown}
        for folder in dict.fromkeys(file.folder for file in files):
            if folder not in with_chats:
                message = f"{folder} has no chats that lmchat can read."
                hint = "`lmchat import --help` lists the formats."
                self._outcome.refused.append((folder, FileRefused(message, hint=hint)))

    async def _import_chats(self, file: str, chats: AsyncIterator[Session | Skipped]) -> None:
        skipped: list[Skipped] = []
        last: ImportedChat | None = None
        async for found in chats:
            if isinstance(found, Skipped):
                skipped.append(found)
                continue
            session = as_imported(found)
            if dropped := count_dropped_calls(found, session):
                title = safe_line(session.header.title, limit=_LONGEST_TITLE)
                reason = f"{plural(dropped, 'tool call')} without a result left out"
                skipped.append(Skipped(where=f"“{title}”", reason=reason))
            if session.messages:
                last = await self._import_session(file, session, skipped)
                self._outcome.chats.append(last)
                skipped.clear()

        if skipped and last is None:
            reason = f"{skipped[0].where}: {skipped[0].reason}"
            message = f"It has no readable messages ({reason})."
            raise FileRefused(message, hint="Export the chats again.")
        if skipped and last is not None:
            self._outcome.chats[-1] = replace(last, skipped=(*last.skipped, *skipped))

    async def _import_session(
        self, file: str, session: Session, skipped: Iterable[Skipped]
    ) -> ImportedChat:
        """Write a session that is not known, or look it up in a trial."""
        if self._known is not None:
            known = self._known.get(session.header.session_id)
        else:
            for content in session.files.values():
                await self._store.save_file(content)
            known = await self._store.import_session(session)
        count = session.header.message_count
        if known is not None:
            return ImportedChat(file=file, header=known, was_known=True, file_messages=count)
        return ImportedChat(
            file=file,
            header=session.header,
            file_messages=count,
            branch_messages=len(session.branches),
            skipped=tuple(skipped),
        )

    def _refuse(self, name: str, error: LMChatError) -> None:
        """Note why a file was not imported, or not to its end."""
        chats = self._outcome.chats
        is_begun = bool(chats) and chats[-1].file == name
        words = "stdin" if name == _STDIN else name
        words += " was imported only in part: " if is_begun else " was not imported: "
        kind: type[LMChatError] = StoreUnavailable
        if isinstance(error, StoreUnavailable):
            words += error.message
        else:
            kind = FileRefused
            words += error.message[:1].lower() + error.message[1:]
        self._outcome.refused.append((name, kind(words, hint=error.hint, details=error.details)))


def sentence(chat: ImportedChat, *, is_trial: bool = False) -> str:
    """Return the outcome for a session, without a full stop."""
    header = chat.header
    title = f"“{safe_line(header.title, limit=_LONGEST_TITLE) or 'Untitled'}”"
    if chat.was_known and header.deleted_at is not None:
        return f"{title} is in the trash"
    count = plural(header.message_count, "message")
    if chat.was_known and chat.file_messages > header.message_count:
        return f"{title} already exists with {count}, and the file has {chat.file_messages}"
    if chat.was_known:
        return f"{title} already exists"
    would = " would be imported" if is_trial else ""
    others = f", {chat.branch_messages} of them on other branches" if chat.branch_messages else ""
    return f"{title}{would}, {count}{others}"


def counted(chats: Sequence[ImportedChat], unit: str = "chat") -> str:
    """Return the numbers as words: `2 chats, 1 message`."""
    messages = sum(chat.file_messages for chat in chats)
    return f"{plural(len(chats), unit)}, {plural(messages, 'message')}"


def summary(chats: Sequence[ImportedChat], *, programs: int = 0, is_trial: bool = False) -> str:
    """Return the outcome for many sessions, without a full stop."""
    imported = [chat for chat in chats if not chat.was_known]
    words = f"{counted(imported, 'session')} {'would be imported' if is_trial else 'imported'}"
    if programs:
        words += f" from {plural(programs, 'program')}"
    if known := len(chats) - len(imported):
        words += f", {known} already existed"
    return words


async def _files_of(
    names: Iterable[str], stdin: bytes | None, outcome: ImportOutcome
) -> list[_NamedFile]:
    """Return the named files and those of the named folders, each once."""
    found: dict[str, _NamedFile] = {}
    for name in names:
        if name == _STDIN and stdin is not None:
            found[name] = _NamedFile(name=name, content=stdin)
            continue
        try:
            paths = await asyncio.to_thread(_paths_of, expanded_path(name))
        except LMChatError as error:
            outcome.refused.append((name, error))
            continue
        folder = "" if paths == [expanded_path(name)] else name
        for path in paths:
            file = _NamedFile(name=str(path), content=path, folder=folder)
            found.setdefault(file.name, file)
    return list(found.values())


def _paths_of(path: Path) -> list[Path]:
    """Return the files below a folder that may have chats; any other path as it is."""
    from lmchat.formats.reading import ENDINGS, companions  # noqa: PLC0415 - not at the start

    if not path.is_dir():
        return [path]
    beside = companions()
    errors: list[OSError] = []
    found: list[Path] = []
    for folder, folders, names in os.walk(path, onerror=errors.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            is_shown = not name.startswith(".") and name not in beside
            if is_shown and name.lower().endswith(ENDINGS):
                found.append(Path(folder, name))
    if found:
        return found
    if errors:
        raise FileRefused(f"{path} cannot be read: {errors[0].strerror}.", hint="Check the path.")
    message = f"{path} has no file that ends with {', '.join(ENDINGS)}."
    raise FileRefused(message, hint="Name a file, or another folder.")
