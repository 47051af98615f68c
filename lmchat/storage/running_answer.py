"""The file of a running answer: only ever appended to, and good up to wherever it ends.

A line of JSON says whose answer it is. Runs follow: a kind between two bytes 0xFF, which UTF-8 never holds,
and the text of that kind up to the next one. So a piece of text costs its own bytes and no more, where SQLite
would write a page.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from msgspec import Struct

from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.domain.turn import ANEW, Piece
from lmchat.errors import SessionNotFound
from lmchat.files import ensure_folder, read_plain
from lmchat.storage.database import closed, explain
from lmchat.storage.rows import loaded, stored_time

log = logging.getLogger(__name__)

_FORMAT = 1
_MARK = b"\xff"
_WHOLE = "whole"
"""Ends the text after `ANEW`; without it that text was cut off, and the text before counts."""
_MOST_BYTES = 1 << 28
"""More than any answer; a larger file stays where it is."""
_LONGEST_HEAD = 1 << 16
_LONGEST_ID = 150
_LONGEST_CHAR = 4


class Begun(Struct, frozen=True, kw_only=True):
    """Whose answer a file holds."""

    session_id: str
    message: ChatMessage
    owner: str


def answer_path(store: Path, message_id: str) -> Path:
    """Return where the text of an answer is kept while it arrives."""
    return store.with_name(f"{_prefix(store)}{quote(message_id, safe='')[:_LONGEST_ID]}")


def answer_paths(store: Path) -> Iterator[Path]:
    """Yield the files of all answers that arrive, or whose process was killed."""
    prefix = _prefix(store)
    with suppress(OSError):
        yield from sorted(path for path in store.parent.iterdir() if path.name.startswith(prefix))


def head_of(begun: Begun) -> bytes:
    """Return the line that a file begins with."""
    message = begun.message
    facts = {
        "lmchat": _FORMAT,
        "session_id": begun.session_id,
        "owner": begun.owner,
        "message_id": message.message_id,
        "parent_id": message.parent_id,
        "created_at": stored_time(message.created_at),
        "model": message.model,
        "endpoint": message.endpoint,
    }
    return json.dumps(facts).encode() + b"\n"


def runs_of(pieces: Iterable[Piece], kind: str) -> tuple[bytes, str]:
    """Return what to append after a run of a kind, and the kind of the last run then."""
    data = bytearray()
    is_anew = False
    for piece in pieces:
        is_anew = is_anew or piece == ANEW
        if piece[0] != kind or piece == ANEW:
            kind = piece[0]
            data += _marked(kind)
        data += piece[1].encode(errors="surrogatepass")
    if is_anew:
        data += _marked(_WHOLE)
        kind = _WHOLE
    return bytes(data), kind


def read_answer(path: Path) -> tuple[Begun | None, Sequence[Piece]]:
    """Return whose answer a file holds and what has come of it; nothing of either where it says nothing."""
    try:
        return load_answer(path)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("the file of a running answer cannot be read: %s", error.strerror)
        return None, ()


def load_answer(path: Path) -> tuple[Begun | None, Sequence[Piece]]:
    """Do the same, but raise `OSError` where the file is missing or cannot be read now."""
    data = read_plain(path, limit=_MOST_BYTES)
    end = data.find(b"\n", 0, _LONGEST_HEAD)
    begun = _begun(data[:end]) if end >= 0 else None
    return begun, () if begun is None else _pieces(data[end + 1 :])


def _prefix(store: Path) -> str:
    return f"{store.name}-answer-"


def _marked(kind: str) -> bytes:
    return _MARK + kind.encode() + _MARK


def _begun(head: bytes) -> Begun | None:
    try:
        facts = json.loads(head)
        message = ChatMessage(
            message_id=str(facts["message_id"]),
            role=Role.ASSISTANT,
            parts=(),
            created_at=datetime.fromisoformat(facts["created_at"]),
            parent_id=None if facts["parent_id"] is None else str(facts["parent_id"]),
            state=AnswerState.STREAMING,
            model=str(facts["model"]),
            endpoint=str(facts["endpoint"]),
        )
        begun = Begun(session_id=str(facts["session_id"]), message=message, owner=str(facts["owner"]))
        _ensure_storable(begun)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return begun


def _ensure_storable(begun: Begun) -> None:
    """Fail where the sessions' file has no form for an id or a time, not at the start that adopts it."""
    message = begun.message
    for one in (begun.session_id, message.message_id, message.parent_id or ""):
        one.encode()
    stored_time(message.created_at)


def _pieces(body: bytes) -> Sequence[Piece]:
    """Read runs; one whose mark was cut off, and a new beginning without its end, are as if they were not."""
    _, *fields = body.split(_MARK)
    found: list[Piece] = []
    fresh: list[Piece] | None = None
    for kind, text in zip(fields[::2], fields[1::2], strict=False):
        name = kind.decode(errors="replace")
        if name == ANEW[0]:
            fresh = []
        elif name == _WHOLE:
            found, fresh = found if fresh is None else fresh, None
        else:
            (found if fresh is None else fresh).append((name, _decoded(text)))
    return found


def _decoded(text: bytes) -> str:
    """Read a text whose last character may be cut off, or whose end a power cut has left empty."""
    text = text.rstrip(b"\0") if text.endswith(b"\0\0\0\0") else text
    for cut in range(_LONGEST_CHAR):
        with suppress(UnicodeDecodeError):
            return text[: len(text) - cut].decode(errors="surrogatepass")
    return loaded(text)


_DEAD_STATES = "ZXx"
"""A killed process that its parent has not collected yet writes nothing any more."""
_PID = re.compile(r"[0-9]{1,10}")


@cache
def this_process() -> str:
    """Return the mark of this process: its id, and its start time, because ids are used again."""
    return f"{os.getpid()}@{_started(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether the process with this mark runs."""
    pid, _, started = owner.partition("@")
    if not _PID.fullmatch(pid) or not started:
        return False
    return owner == this_process() or _started(int(pid)) == started


def _started(pid: int) -> str:
    """Return when a process was started, in whatever form this system tells it; empty if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything, also blanks
    if fields[0] in _DEAD_STATES:
        return ""
    return f"{fields[19]}-{_boot()}"


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started_by_ps(pid: int) -> str:
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603 - no shell, a number
    except (OSError, subprocess.TimeoutExpired):
        return ""
    state, _, started = answer.stdout.strip().partition(" ")
    return "" if state[:1] in _DEAD_STATES else " ".join(started.split())


T = TypeVar("T")

_MODE = 0o600


class Arriving:
    """Files of running answers; they survive the end of the process, but not a power cut.

    Nothing waits for the disk here; the sessions' file, which does, has the prompt and the ended answer.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lmchat-answers")
        self._files: dict[str, AnswerFile] = {}

    def begin(self, session_id: str, message: ChatMessage) -> None:
        """Take note of an answer; its file is made with its first text."""
        begun = Begun(session_id=session_id, message=message, owner=this_process())
        self._files[message.message_id] = AnswerFile(
            answer_path(self._store, message.message_id), head_of(begun)
        )

    async def add(self, message_id: str, pieces: Sequence[Piece]) -> bool:
        """Append all pieces or none; return whether the file was gone and is written again as a whole.

        Raises `StoreUnavailable` where it cannot be written.
        """
        file = self._files.get(message_id)
        if file is None:
            raise SessionNotFound("This answer was not begun.")
        try:
            return await self._run(partial(file.add, pieces))
        except OSError as error:
            raise explain(error, self._store) from error

    async def end(self, message_id: str) -> None:
        """Remove the file of an answer that is kept elsewhere now."""
        file = self._files.pop(message_id, None)
        if file is not None:
            await self._run(file.remove)

    async def remove(self, message_ids: Sequence[str]) -> None:
        """Remove the files of purged answers; a process that still writes one makes it again."""
        for message_id in message_ids:
            await self._run(partial(answer_path(self._store, message_id).unlink, missing_ok=True))

    async def aclose(self) -> None:
        """Let go of the files; those that are left are of answers that could not be kept elsewhere."""
        files = list(self._files.values())
        self._files.clear()
        for file in files:
            await self._run(file.close)
        self._thread.shutdown(wait=False)

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            future = self._thread.submit(job)
        except RuntimeError:
            raise closed() from None
        return await asyncio.shield(asyncio.wrap_future(future))


class AnswerFile:
    """One file; every method blocks."""

    def __init__(self, path: Path, head: bytes) -> None:
        self._path = path
        self._written = [head]
        self._size = len(head)
        self._kind = ""
        self._descriptor: int | None = None

    def add(self, pieces: Sequence[Piece]) -> bool:
        """Append pieces; return whether the file was gone and is rewritten. On `OSError` it is unchanged."""
        data, kind = runs_of(pieces, self._kind)
        is_there = self._is_there()
        if is_there:
            self._append(data)
        else:
            self._write_anew(data)
        was_gone = not is_there and len(self._written) > 1
        self._written.append(data)
        self._size += len(data)
        self._kind = kind
        return was_gone

    def remove(self) -> None:
        self.close()
        with suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_there(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.lstat())
        except OSError:
            return False

    def _write_anew(self, data: bytes) -> None:
        self.close()
        ensure_folder(self._path.parent)
        # What has its name goes first: a link leads elsewhere, a pipe waits, a file has a mode of its own.
        self._path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, _MODE)
        try:
            _write(self._descriptor, b"".join((*self._written, data)))
        except OSError:
            self.remove()
            raise

    def _append(self, data: bytes) -> None:
        descriptor = self._descriptor
        assert descriptor is not None  # noqa: S101 - `_is_there` has looked
        if os.fstat(descriptor).st_size != self._size:  # half a piece, which a full disk left behind
            os.ftruncate(descriptor, self._size)
        try:
            _write(descriptor, data)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, self._size)
            raise


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
