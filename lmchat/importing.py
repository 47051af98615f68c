"""Import of chats from files into the store, and words for its outcome.

A session is imported whole or not at all. One that the store already has is not changed. A trial
reads the files in the same way and says what an import would do, but stores nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from lmchat.errors import FormatUnknown, LMChatError, StoreUnavailable
from lmchat.formats.builder import ReadSession
from lmchat.formats.importing import import_chats, naming
from lmchat.formats.programs import AUTO, ChatPlace
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.sessions.message import now
from lmchat.sessions.session import SessionHeader, Skipped
from lmchat.storage.store import Store
from lmchat.terminal.output import SHORT_ID
from lmchat.units import plural

_TITLE_CHARS = 80  # of a title in a sentence; the rest is cut
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
    left_out: list[tuple[str, Skipped]] = []
    """Name of a file and a damaged part of it."""
    refused: list[tuple[str, LMChatError]] = []
    """Name and error of each file that was not imported whole, and of each folder without chats."""
    unknown: list[str] = []
    """Names of files in named folders whose format is not one of chats."""
    is_stopped: bool = False
    """Whether the import was cancelled."""


class Importer:
    """Importer of files and folders for the command line and the screen."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime] = now,
        find: Callable[[], Sequence[ChatPlace]] = tuple,
        report_progress: Callable[[str], None] = lambda _: None,
        quiet_s: float = 2.0,
    ) -> None:
        """Make an importer into a store.

        `find` returns where other programs keep chats on this machine; it may block.
        `report_progress` is called after each chat with the numbers of chats and messages so far,
        for an import that takes longer than `quiet_s`.
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
        store, and `into` lists them. An error of the store, such as a full disk, ends the import.
        """
        outcome = ImportOutcome() if into is None else into
        known_headers: dict[str, SessionHeader] | None = None
        if is_trial:
            saved = await self._store.list_sessions()
            deleted = await self._store.list_sessions(is_trash=True)
            known_headers = {header.session_id: header for header in (*saved, *deleted)}
        results = import_chats(names, moment=self._clock(), source=source, stdin=stdin)
        begun_s = time.monotonic()
        try:
            # in a thread: a cancelled import waits for no record, however long it takes to read
            while (result := await run_abandonable(lambda: next(results, None))) is not None:
                file, item = result
                match item:
                    case ReadSession():
                        try:
                            outcome.chats.append(await self._import(file, item, known_headers))
                            if time.monotonic() - begun_s >= self._quiet_s:
                                self.report_progress(count_chats_and_messages(outcome.chats))
                        except LMChatError as error:
                            outcome.refused.append((file, naming(file, error)))
                            if isinstance(error, StoreUnavailable):
                                break
                    case Skipped():
                        outcome.left_out.append((file, item))
                    case FormatUnknown() if file not in names:  # it is in a named folder
                        outcome.unknown.append(file)
                    case LMChatError():
                        outcome.refused.append((file, item))
        except asyncio.CancelledError:
            outcome.is_stopped = True
            raise
        return outcome

    async def places(self) -> Sequence[ChatPlace]:
        """Return where other programs keep chats on this machine."""
        return await asyncio.to_thread(self._find_places)

    async def _import(
        self, file: str, chat: ReadSession, known_headers: dict[str, SessionHeader] | None
    ) -> ImportedChat:
        """Store a session unless the store has it, and return the result.

        A trial stores nothing: it looks the session up in `known_headers`, and adds it to them, so
        that in a second file it counts as known, as it would in an import.
        """
        session = chat.session
        header = session.header
        if known_headers is not None:
            known_header = known_headers.get(header.session_id)
            known_headers.setdefault(header.session_id, header)
        else:
            for content in session.files.values():
                await self._store.save_file(content)
            known_header = await self._store.import_session(session)  # None: it was new, now stored
        return ImportedChat(
            file=file,
            header=header if known_header is None else known_header,
            was_known=known_header is not None,
            file_messages=header.message_count,
            branch_messages=len(session.branches),
            skipped=chat.skipped if known_header is None else (),
        )


def chat_sentence(chat: ImportedChat, *, is_trial: bool = False) -> str:
    """Return what happened to one session; in a trial, a new one "would be imported".

    Of a chat that was imported before, it names the session, or says how to restore it from the
    trash.
    """
    header = chat.header
    title = f"“{safe_line(header.title, limit=_TITLE_CHARS) or 'Untitled'}”"
    short_id = header.session_id[:SHORT_ID]
    if chat.was_known and header.deleted_at is not None:
        return f"{title} is in the trash; `lmchat sessions restore {short_id}` restores it."
    if chat.was_known:
        return f"{title} already exists, as {short_id}."
    trial_words = " would be imported" if is_trial else ""
    return f"{title}{trial_words}, {plural(header.message_count, 'message')}"


def count_chats_and_messages(chats: Sequence[ImportedChat], unit: str = "chat") -> str:
    """Return the numbers of chats and of their messages in words: `2 chats, 1 message`.

    `unit` is the word for a chat.
    """
    messages = sum(chat.file_messages for chat in chats)
    return f"{plural(len(chats), unit)}, {plural(messages, 'message')}"


def result_lines(outcome: ImportOutcome, *, is_trial: bool = False) -> list[str]:
    """Return a line for each chat, unless there are too many, and a sum of several.

    The numbers of the sum are those of new sessions.
    """
    chats = outcome.chats
    lines: list[str] = []
    if len(chats) <= _MAX_LISTED:
        lines = [f"{chat.file}: {chat_sentence(chat, is_trial=is_trial)}" for chat in chats]
    if len(chats) > 1:
        imported = [chat for chat in chats if not chat.was_known]
        verb = "would be imported" if is_trial else "imported"
        words = f"{count_chats_and_messages(imported, 'session')} {verb}"
        if len(imported) < len(chats):
            words += f", {len(chats) - len(imported)} already existed"
        lines.append(f"{words}.")
    return lines


def loss_lines(outcome: ImportOutcome) -> list[str]:
    """Return a line for each part that was left out, unless there are too many."""
    parts = [(chat.file, part) for chat in outcome.chats for part in chat.skipped]
    parts += outcome.left_out
    lines = [f"{file}, {part.where}: {part.reason}." for file, part in parts]
    if len(lines) > _MAX_LISTED:
        lines[_MAX_LISTED:] = [f"{len(lines) - _MAX_LISTED} more notes of this kind."]
    if outcome.unknown:
        lines.append(f"{len(outcome.unknown)} other files have no chats that lmchat can read.")
    return lines
