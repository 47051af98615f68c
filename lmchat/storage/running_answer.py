"""Files of running answers and tool calls; those of killed processes are recovered later.

`sessions.db-answer-ID` begins with a line of JSON about the answer. Each further line holds the
pieces of one write, which costs little more than its text, where SQLite would write pages. A cut
line does not count. The process locks its file; after a kill, the file has no lock.
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

from lmchat.domain.message import AnswerState, ChatMessage, Part, Role
from lmchat.domain.turn import RESET, Piece, call_pieces
from lmchat.files import OPEN_FLAGS, ensure_folder, read_plain
from lmchat.machine.system import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.storage.file_errors import explain
from lmchat.storage.job_thread import JobThread

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_BYTES = 1 << 28  # more than any answer; a larger file is left alone
_FILE_MODE = 0o600


class FileHead(Struct, frozen=True, kw_only=True):
    """First line of a file: the message to which its text belongs."""

    session_id: str
    message_id: str
    parent_id: str | None
    created_at: datetime
    model: str
    endpoint: str
    role: Role

    def message(self, parts: Iterable[Part]) -> ChatMessage:
        """Return the message with the parts that have arrived."""
        values = asdict(self)
        del values["session_id"]
        return ChatMessage(parts=tuple(parts), state=AnswerState.STREAMING, **values)


def answer_path(store: Path, message_id: str) -> Path:
    """Return the path of the file of an answer."""
    return store.with_name(f"{store.name}-answer-{quote(message_id, safe='')}")


def answer_files(store: Path) -> list[Path]:
    """Return the files of all running or killed answers beside the sessions."""
    return list(store.parent.glob(f"{store.name}-answer-*"))


def read_answer(path: Path) -> tuple[FileHead | None, list[Piece]]:
    """Return the head of a file, None if it is damaged, and its pieces; raises `OSError`."""
    first, *lines = read_plain(path, max_bytes=_MOST_BYTES).split(b"\n")
    pieces: list[Piece] = []
    for line in lines:
        pieces += _parsed(line, list[tuple[str, str]]) or []
    return _parsed(first, FileHead), kept_pieces(pieces)


def kept_pieces(pieces: Iterable[Piece]) -> list[Piece]:
    """Return the pieces after the last `RESET`, which replaces all before it."""
    kept: list[Piece] = []
    for piece in pieces:
        if piece[0] == RESET[0]:
            kept.clear()
        else:
            kept.append(piece)
    return kept


def _parsed(line: bytes, kind: type[T]) -> T | None:
    """Return what a line of JSON holds, None for a cut or damaged one."""
    try:
        return convert(json.loads(line.decode(errors="surrogatepass")), kind)
    except (ValueError, RecursionError, ValidationError):
        return None


def is_running(path: Path) -> bool:
    """Return whether the process of an answer still locks its file.

    A file that cannot be read now counts as locked, so that it stays.
    """
    try:
        read_answer(path)
        descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("the file of an answer cannot be read and stays: %s", error.strerror)
        return True
    try:
        return not try_lock(descriptor, is_shared=True)
    except OSError:
        # a file system without locks: a running answer is written once more at its end
        return False
    finally:
        os.close(descriptor)


class RunningAnswers:
    """Answers of this process; their files survive its end, but not a power cut."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._thread = JobThread("lmchat-answers")
        self._files: dict[str, AnswerFile] = {}

    async def begin(self, session_id: str, message: ChatMessage) -> None:
        """Create and lock the file of an answer or a tool call."""
        head = convert({**asdict(message), "session_id": session_id}, FileHead)
        file = AnswerFile(answer_path(self._store, message.message_id), head)
        self._files[message.message_id] = file
        pieces = call_pieces(message) if message.role is Role.TOOL else ()
        with suppress(OSError):  # a full disk; `add` tries again
            await self._thread.run(partial(file.add, pieces))

    async def add(self, message_id: str, pieces: Sequence[Piece]) -> None:
        """Append all pieces or none; raises `StoreUnavailable` where that fails."""
        try:
            await self._thread.run(partial(self._files[message_id].add, pieces))
        except OSError as error:
            raise explain(error, self._store) from error

    async def end(self, message_id: str) -> None:
        """Remove the file of an answer that is in the tables now."""
        file = self._files.pop(message_id, None)
        if file is not None:
            await self._thread.run(file.remove)

    async def aclose(self) -> None:
        """Release the files; those that remain are of answers that could not be saved."""
        files = list(self._files.values())
        self._files.clear()

        def close_files() -> None:
            for file in files:
                file.close()

        await self._thread.aclose(close_files)


class AnswerFile:
    """File of one running answer; every method blocks."""

    def __init__(self, path: Path, head: FileHead) -> None:
        self._path = path
        self._head = _line(to_builtins(head))
        self._size_bytes = 0
        self._descriptor: int | None = None

    def add(self, pieces: Sequence[Piece]) -> None:
        """Append pieces; after an `OSError`, none of them count."""
        if self._descriptor is None:
            self._descriptor = self._create()
        data = b"" if self._size_bytes else self._head
        if pieces:
            data += _line(pieces)

        os.ftruncate(self._descriptor, self._size_bytes)  # half a line, left by a full disk
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            rest = rest[written:]
        self._size_bytes += len(data)

    def remove(self) -> None:
        """Close and remove the file."""
        self.close()
        with suppress(OSError):  # the folder may be read-only now
            self._path.unlink()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _create(self) -> int:
        """Create and lock the file; return its descriptor."""
        ensure_folder(self._path.parent)
        # under another name first: no other process must see it without a lock
        hidden = self._path.with_name(f".{self._path.name}")
        path = hidden if CAN_RENAME_OPEN_FILES else self._path
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | OPEN_FLAGS
        descriptor = os.open(path, flags, _FILE_MODE)
        with suppress(OSError):  # a file system without locks
            try_lock(descriptor)
        if path is hidden:
            path.replace(self._path)
        return descriptor


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
