"""Import of chats from files, which are only read.

A session is imported whole or not at all. One that the store already has is not changed. A trial
reads the files in the same way and says what an import would do, but stores nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.ports import ChatStore
from lmchat.errors import FileRefused, FormatUnknown, LMChatError, StoreUnavailable
from lmchat.files.disk import expanded_path
from lmchat.formats.imported import as_imported, count_dropped_calls
from lmchat.formats.places import ChatPlace
from lmchat.formats.reading import ENDINGS, companions
from lmchat.formats.table import AUTO
from lmchat.safe_text import safe_line
from lmchat.services.chat_files import ChatFiles
from lmchat.sessions.message import now
from lmchat.sessions.session import Session, SessionHeader, Skipped
from lmchat.terminal.output import SHORT_ID
from lmchat.units import plural

_STDIN = "-"  # name of the standard input in place of a file
_TITLE_CHARS = 80  # of a title in a sentence; the rest is cut
_PROGRESS_S = 0.25  # between two reports of the progress
_MAX_LISTED = 50  # sessions, or notes, that are listed one by one


class ImportedChat(Struct, frozen=True, kw_only=True):
    """Session of a file: imported now, or already in the store."""

    file: str
    """Name of the file, `-` for standard input."""
    header: SessionHeader
    """Header in the store, if the session was known; else that of the file."""
    was_known: bool = False
    """Whether the store already had the session, perhaps in the trash. It was not changed."""
    file_messages: int = 0
    """Number of messages that the session has in the file."""
    branch_messages: int = 0
    """Number of those messages that are not on the path."""
    skipped: tuple[Skipped, ...] = ()


class ImportOutcome(Struct, kw_only=True):
    """Outcome of an import, or of a trial, as far as it has come."""

    chats: list[ImportedChat] = []
    refused: list[tuple[str, LMChatError]] = []
    """Name and error of each file that was not imported whole, and of each folder without chats."""
    not_tried: list[str] = []
    """Names of the files after one whose sessions could not be stored, as on a full disk."""
    unknown: list[str] = []
    """Names of files in named folders whose format is not one of chats."""
    is_stopped: bool = False
    """Whether the import was cancelled."""


class Importer:
    """Importer of files and folders for the command line and the screen."""

    def __init__(
        self,
        store: ChatStore,
        *,
        clock: Callable[[], datetime] = now,
        find: Callable[[], Sequence[ChatPlace]] = tuple,
        report_progress: Callable[[str], None] = lambda _: None,
        quiet_s: float = 2.0,
    ) -> None:
        """Make an importer into a store.

        `find` returns where other programs keep chats on this machine; it may block.
        `report_progress` is called a few times a second with the numbers of chats and messages so
        far, for an import that takes longer than `quiet_s`.
        """
        self._store = store
        self._clock = clock
        self._find_places = find
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

        `stdin` is the content of the file `-`. `source` is the program that the files must be of,
        or `AUTO`. A trial stores nothing. Results are added to `into`, which is also returned; None
        takes a new outcome. If the import is cancelled, the sessions that were imported stay in the
        store, and `into` lists them.
        """
        outcome = ImportOutcome() if into is None else into
        known_headers = await self._known_headers() if is_trial else None
        async with self._started_run(outcome, known_headers) as run:
            await run.import_all(await _files_to_import(names, stdin, outcome), source)
        return outcome

    async def places(self) -> Sequence[ChatPlace]:
        """Return where other programs keep chats on this machine."""
        return await asyncio.to_thread(self._find_places)

    @asynccontextmanager
    async def _started_run(
        self, outcome: ImportOutcome, known_headers: dict[str, SessionHeader] | None
    ) -> AsyncIterator[_ImportRun]:
        """Yield a run that adds to `outcome`, and report its progress until the `async with` ends.

        Without `known_headers`, the run stores the sessions. A task reports, so that reports begin
        while the first chat of a large file is still being read.
        """
        reporting = asyncio.create_task(
            self._report_progress_of(outcome), name="progress of an import"
        )
        try:
            async with aclosing(ChatFiles()) as chat_files:
                yield _ImportRun(self._store, chat_files, outcome, known_headers, self._clock)
        except asyncio.CancelledError:
            outcome.is_stopped = True
            raise
        finally:
            reporting.cancel()

    async def _report_progress_of(self, outcome: ImportOutcome) -> None:
        """Report the numbers of chats and messages until this is cancelled."""
        await asyncio.sleep(self._quiet_s)
        while True:
            self.report_progress(count_chats_and_messages(outcome.chats))
            await asyncio.sleep(_PROGRESS_S)

    async def _known_headers(self) -> dict[str, SessionHeader]:
        """Return the headers of all sessions by their ids, also of those in the trash."""
        saved = await self._store.list_sessions()
        deleted = await self._store.list_sessions(is_trash=True)
        return {header.session_id: header for header in (*saved, *deleted)}


class _NamedFile(Struct, frozen=True, kw_only=True):
    """File to import."""

    name: str
    """Path of the file as text, `-` for standard input."""
    content: Path | bytes
    """Path to read, or the bytes of standard input."""
    folder: str = ""
    """Folder that the user named, if not the file itself."""


class _ImportRun:
    """Import of files into a store, or a trial without storing.

    A trial has `known_headers`, the headers of all sessions in the store by their ids. Without
    them, sessions are stored.
    """

    def __init__(
        self,
        store: ChatStore,
        chat_files: ChatFiles,
        outcome: ImportOutcome,
        known_headers: dict[str, SessionHeader] | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._chat_files = chat_files
        self._outcome = outcome
        self._known_headers = known_headers
        self._clock = clock

    async def import_all(self, files: Sequence[_NamedFile], source: str) -> None:
        """Import the chats of each file, and add refused files and folders to the outcome.

        A file of an unknown format is refused if the user has named it. If it was found in a named
        folder, it is only added to `unknown`. After an error of the store, the remaining files are
        not tried.
        """
        unknown_names: set[str] = set()
        for number, file in enumerate(files, 1):
            chats = self._chat_files.chats(file.content, source=source, moment=self._clock())
            try:
                async with aclosing(chats):
                    await self._import_chats(file.name, chats)
            except LMChatError as error:
                if file.folder and isinstance(error, FormatUnknown):
                    unknown_names.add(file.name)
                    self._outcome.unknown.append(file.name)
                    continue
                self._add_refused_file(file.name, error)
                if isinstance(error, StoreUnavailable):
                    self._outcome.not_tried += [other.name for other in files[number:]]
                    break
        self._refuse_folders_without_chats(files, unknown_names)

    def _refuse_folders_without_chats(
        self, files: Sequence[_NamedFile], unknown_names: set[str]
    ) -> None:
        """Add to the refused names each folder that has only files of unknown formats."""
        named_folders = dict.fromkeys(file.folder for file in files if file.folder)
        # other files may be refused or not tried, but the outcome says so of each of them
        folders_with_other_files = {file.folder for file in files if file.name not in unknown_names}
        for folder in named_folders:
            if folder not in folders_with_other_files:
                message = f"{folder} has no chats that lmchat can read."
                hint = "`lmchat import --help` lists the formats."
                self._outcome.refused.append((folder, FileRefused(message, hint=hint)))

    async def _import_chats(self, file_name: str, items: AsyncIterator[Session | Skipped]) -> None:
        """Import the sessions of a file and add them to the outcome.

        What is skipped is noted with the next session that is imported, and what is skipped after
        the last session with that one. A session without messages is left out. Raises `FileRefused`
        if something was skipped and no session was imported.
        """
        skipped: list[Skipped] = []
        last_chat: ImportedChat | None = None
        async for item in items:
            if isinstance(item, Skipped):
                skipped.append(item)
                continue
            session = as_imported(item)
            dropped_calls = count_dropped_calls(item, session)
            if dropped_calls:
                title = safe_line(session.header.title, limit=_TITLE_CHARS)
                reason = f"{plural(dropped_calls, 'tool call')} without a result left out"
                skipped.append(Skipped(where=f"“{title}”", reason=reason))
            if session.messages:
                last_chat = await self._import_session(file_name, session, skipped)
                self._outcome.chats.append(last_chat)
                skipped.clear()

        if skipped and last_chat is None:
            reason = f"{skipped[0].where}: {skipped[0].reason}"
            message = f"It has no readable messages ({reason})."
            raise FileRefused(message, hint="Export the chats again.")
        if skipped and last_chat is not None:
            all_skipped = (*last_chat.skipped, *skipped)
            self._outcome.chats[-1] = replace(last_chat, skipped=all_skipped)

    async def _import_session(
        self, file_name: str, session: Session, skipped: Iterable[Skipped]
    ) -> ImportedChat:
        """Store a session unless the store has it, and return the result.

        A trial stores nothing: it looks the session up in `known_headers`, and adds it to them, so
        that in a second file it counts as known, as it would in an import.
        """
        if self._known_headers is not None:
            known_header = self._known_headers.get(session.header.session_id)
            self._known_headers.setdefault(session.header.session_id, session.header)
        else:
            for content in session.files.values():
                await self._store.save_file(content)
            known_header = await self._store.import_session(session)  # None: it was new, now stored

        message_count = session.header.message_count
        if known_header is not None:
            return ImportedChat(
                file=file_name, header=known_header, was_known=True, file_messages=message_count
            )
        return ImportedChat(
            file=file_name,
            header=session.header,
            file_messages=message_count,
            branch_messages=len(session.branches),
            skipped=tuple(skipped),
        )

    def _add_refused_file(self, name: str, error: LMChatError) -> None:
        """Add a file to the refused ones, with an error that names the file.

        The error says that nothing was imported, or only a part. It was a part if the newest chat
        of the outcome is of this file. Errors of the store stay `StoreUnavailable`; all others
        become `FileRefused`.
        """
        chats = self._outcome.chats
        was_begun = bool(chats) and chats[-1].file == name
        message = "stdin" if name == _STDIN else name
        if was_begun:
            message += " was imported only in part: "
        else:
            message += " was not imported: "

        error_class: type[LMChatError]
        if isinstance(error, StoreUnavailable):
            error_class = StoreUnavailable
            message += error.message  # it may begin with the name of a file, so its case is kept
        else:
            error_class = FileRefused
            message += error.message[:1].lower() + error.message[1:]
        refusal = error_class(message, hint=error.hint, details=error.details)
        self._outcome.refused.append((name, refusal))


def chat_sentence(chat: ImportedChat, *, is_trial: bool = False) -> str:
    """Return what happened to one session as a sentence without a full stop.

    In a trial, a new session "would be imported".
    """
    header = chat.header
    title = f"“{safe_line(header.title, limit=_TITLE_CHARS) or 'Untitled'}”"
    if chat.was_known and header.deleted_at is not None:
        return f"{title} is in the trash"
    count = plural(header.message_count, "message")
    if chat.was_known and chat.file_messages > header.message_count:
        return f"{title} already exists with {count}, and the file has {chat.file_messages}"
    if chat.was_known:
        return f"{title} already exists"
    trial_words = " would be imported" if is_trial else ""
    branch_words = ""
    if chat.branch_messages:
        branch_words = f", {chat.branch_messages} of them on other branches"
    return f"{title}{trial_words}, {count}{branch_words}"


def count_chats_and_messages(chats: Sequence[ImportedChat], unit: str = "chat") -> str:
    """Return the numbers of chats and of their messages in words: `2 chats, 1 message`.

    `unit` is the word for a chat.
    """
    messages = sum(chat.file_messages for chat in chats)
    return f"{plural(len(chats), unit)}, {plural(messages, 'message')}"


def chats_summary(
    chats: Sequence[ImportedChat], *, programs: int = 0, is_trial: bool = False
) -> str:
    """Return what happened to many sessions as a sentence without a full stop.

    Its numbers of sessions and messages are those of new sessions. `programs` is the number of
    programs that the chats are of; with 0, the sentence does not name it.
    """
    imported = [chat for chat in chats if not chat.was_known]
    verb = "would be imported" if is_trial else "imported"
    words = f"{count_chats_and_messages(imported, 'session')} {verb}"
    if programs:
        words += f" from {plural(programs, 'program')}"
    known_count = len(chats) - len(imported)
    if known_count:
        words += f", {known_count} already existed"
    return words


async def _files_to_import(
    names: Iterable[str], stdin: bytes | None, outcome: ImportOutcome
) -> list[_NamedFile]:
    """Return the named files, and the files of the named folders that may have chats, each once.

    A folder without such files, or that cannot be read, is added to `outcome.refused`. `stdin` is
    the content of the file `-`; if it is None, that is an ordinary name.
    """
    files: dict[str, _NamedFile] = {}  # by name
    for name in names:
        if name == _STDIN and stdin is not None:
            files[name] = _NamedFile(name=name, content=stdin)
            continue
        try:
            paths = await asyncio.to_thread(_paths_with_chats, expanded_path(name))
        except LMChatError as error:
            outcome.refused.append((name, error))
            continue
        is_file = paths == [expanded_path(name)]  # a folder returns the files below it
        for path in paths:
            file = _NamedFile(name=str(path), content=path, folder="" if is_file else name)
            files.setdefault(file.name, file)  # the first one, if both it and its folder are named
    return list(files.values())


def _paths_with_chats(path: Path) -> list[Path]:
    """Return the files below a folder whose endings are those of chats; for any other path, itself.

    Hidden files and folders are left out, and companions: files that are read with another file.
    Raises `FileRefused` for a folder without such files.
    """
    # Path.is_dir would raise an error for a long name, and for a folder that may not be entered
    if not os.path.isdir(path):  # noqa: PTH112
        return [path]
    companion_names = companions()
    errors: list[OSError] = []
    chat_paths: list[Path] = []
    for folder, folder_names, file_names in os.walk(path, onerror=errors.append):
        # `os.walk` enters the folders of this list, in its order.
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        for name in sorted(file_names):
            is_left_out = name.startswith(".") or name in companion_names
            if name.lower().endswith(ENDINGS) and not is_left_out:
                chat_paths.append(Path(folder, name))
    if chat_paths:
        return chat_paths
    if errors:
        raise FileRefused(f"{path} cannot be read: {errors[0].strerror}.", hint="Check the path.")
    message = f"{path} has no file that ends with {', '.join(ENDINGS)}."
    raise FileRefused(message, hint="Name a file, or another folder.")


def result_lines(
    outcome: ImportOutcome, *, of_programs: bool = False, is_trial: bool = False
) -> list[str]:
    """Return a line for each chat, unless there are too many, and a sum of several.

    With `of_programs`, the sum says of how many programs the new chats are.
    """
    chats = outcome.chats
    lines: list[str] = []
    if len(chats) <= _MAX_LISTED:
        lines = [
            f"{chat.file}: {chat_sentence(chat, is_trial=is_trial)}{_next_step(chat)}"
            for chat in chats
        ]
    if len(chats) > 1:
        # a chat of another program has the program's name as its only tag
        programs = {chat.header.tags for chat in chats if of_programs and not chat.was_known}
        lines.append(f"{chats_summary(chats, programs=len(programs), is_trial=is_trial)}.")
    return lines


def loss_lines(outcome: ImportOutcome) -> list[str]:
    """Return a line for each part that was skipped, unless there are too many."""
    lines = [
        f"{chat.file}, {part.where}: {part.reason}."
        for chat in outcome.chats
        for part in chat.skipped
    ]
    if len(lines) > _MAX_LISTED:
        lines[_MAX_LISTED:] = [f"{len(lines) - _MAX_LISTED} more notes of this kind."]
    if outcome.unknown:
        lines.append(f"{len(outcome.unknown)} other files have no chats that lmchat can read.")
    return lines


def _next_step(chat: ImportedChat) -> str:
    """Return the end of the sentence that `chat_sentence` begins; empty for a new chat.

    Of a chat that was imported before, it names the session, or says how to restore it from the
    trash.
    """
    short_id = chat.header.session_id[:SHORT_ID]
    if not chat.was_known:
        return ""
    if chat.header.deleted_at is not None:
        return f"; `lmchat sessions restore {short_id}` restores it."
    return f", as {short_id}."
