"""Files of running answers and tool calls, which `recovery` reads after a kill.

The file `sessions.db-answer-ID` has its head, a line of JSON, then a line for each write: pairs of
a kind and a text. SQLite would write whole pages. A line that a kill has cut off is ignored. The
process locks the file while the answer runs; a lock ends with its process.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from msgspec import Struct, ValidationError, convert, to_builtins
from msgspec.structs import asdict

from lmchat.base.files.disk import (
    NO_WAIT,
    OPEN_FLAGS,
    OWNER_ONLY,
    ensure_folder,
    explain_system_error,
    files_in,
    read_plain,
)
from lmchat.base.files.locks import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.core.sessions.journal_entries import RESET, JournalEntry, call_entries
from lmchat.core.sessions.message import AnswerState, ChatMessage, Part, Role
from lmchat.core.storage.job_thread import JobThread

_logger = logging.getLogger(__name__)

T = TypeVar("T")

# more than any answer has; a larger file is not read
_MOST_BYTES = 256 * 1024 * 1024


class FileHead(Struct, frozen=True, kw_only=True):
    """First line of a file."""

    session_id: str
    message_id: str
    parent_id: str | None
    created_at: datetime
    model: str
    endpoint: str
    role: Role

    def message(self, parts: Iterable[Part]) -> ChatMessage:
        values = asdict(self)
        del values["session_id"]  # a message does not name its session
        return ChatMessage(parts=tuple(parts), state=AnswerState.STREAMING, **values)


def answer_path(database_path: Path, message_id: str) -> Path:
    return database_path.with_name(f"{database_path.name}-answer-{quote(message_id, safe='')}")


def answer_files(database_path: Path) -> list[Path]:
    """Raises `OSError` if that cannot be seen."""
    return files_in(database_path.parent, f"{database_path.name}-answer-*")


def read_answer(path: Path) -> tuple[FileHead | None, list[JournalEntry]]:
    """Read a file; the head is None if it is damaged, or no answer's. Raises `OSError`.

    Damaged lines are left out, and entries before the last `RESET`.
    """
    first_line, *further_lines = read_plain(path, max_bytes=_MOST_BYTES).split(b"\n")
    head = _parsed(first_line, FileHead)
    entries: list[JournalEntry] = []
    for line in further_lines:
        for entry in _parsed(line, list[tuple[str, str]]) or ():
            entries.append(entry)
            if entry[0] == RESET[0]:
                entries.clear()
    return head, entries


def _parsed(line: bytes, value_type: type[T]) -> T | None:
    """None for a line that is cut off or damaged."""
    try:
        # `_json_line` writes lone surrogates
        return convert(json.loads(line.decode(errors="surrogatepass")), value_type)
    except (ValueError, RecursionError, ValidationError):
        return None


def is_running(path: Path) -> bool:
    """Whether the process of a file still runs: whether it has locked it.

    False on a file system without locks. True for a file that cannot be read now: else an answer
    would be saved without its text.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS | NO_WAIT)
    except FileNotFoundError:
        return False
    except OSError as error:
        _logger.warning("%s cannot be read and stays: %s", path.name, error.strerror)
        return True
    try:
        # shared: two processes that check at once must not take each other for the owner
        return not try_lock(descriptor, is_shared=True)
    except OSError:
        # Without locks, an answer that still runs is now saved as interrupted; its own process
        # saves all of it at its end.
        return False
    finally:
        os.close(descriptor)


class FileJournal:
    """Files of the running answers of this process.

    They are not synced: their last lines survive a kill, but not a power cut.
    """

    def __init__(self, database_path: Path) -> None:
        self._database_path = database_path
        self._thread = JobThread("lmchat-answers")
        self._files: dict[str, LineFile] = {}  # by the ids of the messages

    async def start(
        self, session_id: str, message: ChatMessage, *, has_prompt: bool = True
    ) -> None:
        """Create and lock the file; a failure is ignored, since `add` tries again."""
        # without the fields that a head does not have
        head = convert({**asdict(message), "session_id": session_id}, FileHead)
        file = LineFile(answer_path(self._database_path, message.message_id), head)
        file.has_prompt = has_prompt
        self._files[message.message_id] = file
        entries = call_entries(message) if message.role is Role.TOOL else ()
        with suppress(OSError):  # such as a full disk
            await self._thread.run(partial(file.add, entries))

    async def add(self, message_id: str, entries: Sequence[JournalEntry]) -> None:
        """Raises `StoreUnavailable`; then none of the entries counts."""
        file = self._files.get(message_id)
        if file is None:  # the user quits without saving
            return
        try:
            await self._thread.run(partial(file.add, entries))
        except OSError as error:
            raise explain_system_error(error, self._database_path) from error

    async def end(self, message_id: str) -> None:
        """Remove the file of an answer that is in the tables now."""
        file = self._files.pop(message_id, None)
        if file is not None:
            await self._thread.run(file.remove)

    async def drop(self, *, with_saved_prompts: bool) -> None:
        """Remove the files of answers that are not in the tables."""
        for message_id, file in tuple(self._files.items()):
            if with_saved_prompts or not file.has_prompt:
                await self.end(message_id)

    async def aclose(self) -> None:
        """Leave the files for `recovery`: their answers are not in the tables."""
        files = tuple(self._files.values())  # one may end while the thread closes them
        await self._thread.aclose(partial(_close, files))


def _close(files: Iterable[LineFile]) -> None:
    for file in files:
        file.close()


class LineFile:
    """File of this process, locked while it is open; every method blocks."""

    def __init__(self, path: Path, head: FileHead | None = None) -> None:
        self._path = path
        self._head_line = _json_line(to_builtins(head))
        self.has_prompt = True  # in the tables
        self._size_bytes = 0  # of complete lines; 0 before the head is written
        self._descriptor: int | None = None  # None before the file is created, and once closed

    def add(self, entries: Sequence[JournalEntry]) -> None:
        """Append a line of entries; the first call creates the file, and writes its head first.

        Raises `OSError`. The next call then cuts off what this one has written.
        """
        if self._descriptor is None:
            self._descriptor = _create_locked(self._path)
        is_head_written = self._size_bytes > 0
        data = b"" if is_head_written else self._head_line
        if entries:
            data += _json_line(entries)

        os.ftruncate(self._descriptor, self._size_bytes)  # half a line, left by a full disk
        unwritten = memoryview(data)
        while unwritten:
            written_bytes = os.write(self._descriptor, unwritten)
            unwritten = unwritten[written_bytes:]
        self._size_bytes += len(data)

    def remove(self) -> None:
        self.close()
        with suppress(OSError):  # the folder may be read-only now
            self._path.unlink()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _create_locked(path: Path) -> int:
    """Raises `OSError`."""
    ensure_folder(path.parent)
    # Another process would take a file without a lock for that of a killed process. So it is hidden
    # until it is locked, except on Windows, which cannot rename an open file.
    hidden = path.with_name(f".{path.name}")
    created = hidden if CAN_RENAME_OPEN_FILES else path
    created.unlink(missing_ok=True)  # left by a failed or killed attempt
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | OPEN_FLAGS
    descriptor = os.open(created, flags, OWNER_ONLY)
    with suppress(OSError):  # a file system without locks
        try_lock(descriptor)
    if created is hidden:
        try:
            created.replace(path)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def _json_line(value: Any) -> bytes:
    """Keep lone surrogates, which UTF-8 does not allow."""
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
