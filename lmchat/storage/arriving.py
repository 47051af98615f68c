"""The answers that arrive now, each in a file of its own, written on a thread that waits for nothing else.

On the thread of the database a search, or another process that holds the sessions' file, would hold text up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from lmchat.domain.message import ChatMessage
from lmchat.domain.turn import Piece
from lmchat.errors import SessionNotFound
from lmchat.files import ensure_folder
from lmchat.storage.answer_file import Begun, answer_path, head_of, runs_of
from lmchat.storage.faults import closed, explain
from lmchat.storage.owner import this_process

T = TypeVar("T")

_MODE = 0o600


class Arriving:
    """Appends what arrives; the process may be killed at any moment after that, but not lose power.

    Nothing waits for the disk here: the system writes within about half a minute. What was said before, and
    the answer once it has ended, are in the sessions' file, which does wait.
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
        """Append to an answer; all of it is in the file then, or nothing.

        Return whether the file was gone: then it has all that came before once more.

        Raises:
            StoreUnavailable: the file cannot be written.
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
        """Remove the files of answers that nobody wants; a process that goes on with one makes it again."""
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
        """Append pieces; where the file was removed or replaced, all is written anew, and that is told.

        Raises:
            OSError: it cannot be written; what was there before still is.
        """
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
        """Remove the file."""
        self.close()
        with suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        """Let go of the file."""
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
