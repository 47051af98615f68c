"""Files of running answers and tool calls; `SqliteStore` recovers those of killed processes.

`sessions.db-answer-ID` begins with a line of JSON about the answer. Each further line holds the pieces of one
write, which costs little more than its text, where SQLite would write pages. A cut line does not count. The
process locks its file; after a kill, the file has no lock.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from msgspec import Struct, ValidationError, convert, to_builtins
from msgspec.structs import asdict

from lmchat.domain.message import AnswerState, ChatMessage, Part, Role
from lmchat.domain.turn import RESET, Piece, call_pieces, parts_of
from lmchat.files import OPEN_FLAGS, ensure_folder, read_plain
from lmchat.machine.system import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.storage.database import Connection, closed, explain
from lmchat.storage.row_values import loaded, read_parts

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_BYTES = 1 << 28  # more than any answer; a larger file is left alone
_MODE = 0o600
_OLD_MARK = b"\xff"  # around the name of each kind of text in files of an older lmchat


class FileHead(Struct, frozen=True, kw_only=True):
    """Head of a file: whose answer it holds."""

    session_id: str
    message_id: str
    parent_id: str | None
    created_at: datetime
    model: str
    endpoint: str
    role: Role = Role.ASSISTANT  # an older lmchat wrote none

    def message(self, parts: Iterable[Part]) -> ChatMessage:
        facts = asdict(self)
        del facts["session_id"]
        return ChatMessage(parts=tuple(parts), state=AnswerState.STREAMING, **facts)


def answer_path(store: Path, message_id: str) -> Path:
    """Return the path of the file of an answer."""
    return store.with_name(f"{store.name}-answer-{quote(message_id, safe='')}")


def read_answer(path: Path) -> tuple[FileHead | None, list[Piece]]:
    """Return the head of a file, unless it is damaged, and the pieces that count; raises `OSError`."""
    first, *lines = read_plain(path, limit=_MOST_BYTES).split(b"\n")
    head = _parsed(first, FileHead)
    if lines and lines[0].startswith(_OLD_MARK):
        _, *fields = b"\n".join(lines).split(_OLD_MARK)
        runs = zip(fields[::2], fields[1::2], strict=False)
        lines = [
            json.dumps(
                [[kind.decode(errors="replace"), loaded(text)] for kind, text in runs]
            ).encode()
        ]
    pieces: list[Piece] = []
    for line in lines:
        pieces += _parsed(line, list[tuple[str, str]]) or []
    begin = max((place for place, piece in enumerate(pieces) if piece[0] == RESET[0]), default=-1)
    return head, pieces[begin + 1 :]


def _parsed(line: bytes, kind: type[T]) -> T | None:
    with suppress(ValueError, RecursionError, ValidationError):
        return convert(json.loads(line.decode(errors="surrogatepass")), kind)
    return None


def arrived_parts(connection: Connection, number: int, message_id: str) -> list[Part]:
    """Return the parts of a running answer so far; an older lmchat kept them in the table `pieces`."""
    rows = connection.execute(
        "select kind, text from pieces where number = ? order by piece_id", (number,)
    )
    pieces: list[Piece] = []
    with suppress(OSError):
        _, pieces = read_answer(answer_path(connection.path, message_id))
    parts = list(parts_of([*((kind, loaded(text)) for kind, text in rows), *pieces]))
    # without any, it may have ended since it was looked up
    return parts or read_parts(connection, "number = ?", (number,)).get(number, [])


def is_running(path: Path) -> bool:
    """Return whether the process of an answer still locks its file, or the file cannot be read now."""
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
    except (
        OSError
    ):  # a file system without locks: an answer that goes on is written again at its end
        return False
    finally:
        os.close(descriptor)


class RunningAnswers:
    """Answers of this process; their files survive its end, but not a power cut."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lmchat-answers")
        self._files: dict[str, AnswerFile] = {}

    async def begin(self, session_id: str, message: ChatMessage) -> None:
        """Make and lock the file of an answer, or of a tool call; if that fails, `add` tries again."""
        head = convert({**asdict(message), "session_id": session_id}, FileHead)
        file = AnswerFile(answer_path(self._store, message.message_id), head)
        self._files[message.message_id] = file
        with suppress(OSError):
            await self._run(
                partial(file.add, call_pieces(message) if message.role is Role.TOOL else ())
            )

    async def add(self, message_id: str, pieces: Sequence[Piece]) -> None:
        """Append all pieces or none; raises `StoreUnavailable` where that fails."""
        try:
            await self._run(partial(self._files[message_id].add, pieces))
        except OSError as error:
            raise explain(error, self._store) from error

    async def end(self, message_id: str) -> None:
        """Remove the file of an answer that is in the tables now."""
        file = self._files.pop(message_id, None)
        if file is not None:
            await self._run(file.remove)

    async def aclose(self) -> None:
        """Release the files; those that remain are of answers that could not be written to the tables."""
        while self._files:
            await self._run(self._files.popitem()[1].close)
        self._thread.shutdown(wait=False)

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            future = self._thread.submit(job)
        except RuntimeError:
            raise closed() from None
        return await asyncio.shield(asyncio.wrap_future(future))


class AnswerFile:
    """File of one running answer; every method blocks."""

    def __init__(self, path: Path, head: FileHead) -> None:
        self._path = path
        self._head = _line(to_builtins(head))
        self._size = 0
        self._descriptor: int | None = None

    def add(self, pieces: Sequence[Piece]) -> None:
        """Append pieces; after an `OSError`, none of them count."""
        descriptor = self._descriptor = (
            self._made() if self._descriptor is None else self._descriptor
        )
        data = (b"" if self._size else self._head) + (_line(pieces) if pieces else b"")
        os.ftruncate(descriptor, self._size)  # half a line, which a full disk left behind
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        self._size += len(data)

    def remove(self) -> None:
        self.close()
        with suppress(OSError):  # the folder may not be written any more
            self._path.unlink()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _made(self) -> int:
        ensure_folder(self._path.parent)
        # another process must not see it without a lock
        fresh = self._path.with_name(f".{self._path.name}") if CAN_RENAME_OPEN_FILES else self._path
        fresh.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | OPEN_FLAGS
        descriptor = os.open(fresh, flags, _MODE)
        with suppress(OSError):  # a file system without locks
            try_lock(descriptor)
        if fresh != self._path:
            fresh.replace(self._path)
        return descriptor


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
