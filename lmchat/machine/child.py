"""Child process for work on untrusted data: it can be ended at any time, whatever it does.

A thread could not be: a pattern or a decoder holds Python's lock until it is done. Parent and child exchange
frames of bytes.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from lmchat.errors import LMChatError
from lmchat.files import needed_environment

_LENGTH = struct.Struct(">Q")  # before each frame
_ROOT = str(Path(__file__).parents[2])
_CODE = "import sys; sys.path.append(sys.argv[1]); from {} import main; main()"


class ChildEndedError(LMChatError):
    """The child ended before its work was done."""


class Child:
    """Running child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # noqa: S101 - `start` asks for both pipes
        assert process.stdout is not None  # noqa: S101
        self._process, self._input, self._output = process, process.stdin, process.stdout

    @classmethod
    async def start(cls, module: str, environ: Mapping[str, str] = os.environ) -> Child:
        """Start `main` of a module of lmchat; raises `LMChatError`."""
        try:
            process = await asyncio.create_subprocess_exec(
                # `-P`: nothing of the current folder
                *(sys.executable, "-P", "-c", _CODE.format(module), _ROOT),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # it may quote the data
                env=needed_environment(environ),
                start_new_session=True,  # Ctrl+C is for the parent, which ends the child
            )
        except OSError as error:
            words = f"A process for files cannot start: {error.strerror or error}."
            raise LMChatError(words, hint="Close other programs.", kind="program") from error
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def send(self, frame: bytes) -> None:
        """Send a frame; the end of the child is noticed by `receive`."""
        with suppress(ConnectionError):
            self._input.writelines((_LENGTH.pack(len(frame)), frame))
            await self._input.drain()

    async def receive(self) -> bytes:
        """Return the next frame; raises `ChildEndedError`."""
        try:
            (length,) = _LENGTH.unpack(await self._output.readexactly(_LENGTH.size))
            return await self._output.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            words = "The process that works on the file ended."
            hint = "There may be too little memory for this file."
            raise ChildEndedError(words, hint=hint) from error

    async def end(self) -> None:
        """Kill the process, which keeps nothing."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._input.close()
        await self._output.read()
        await self._process.wait()


def serve(answer: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
    """Answer each frame of the parent with frames; ends with the parent, also while it works."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints gets between the frames
    frames = _Frames(sys.stdin.buffer)

    def send(frame: bytes) -> None:
        output.write(_LENGTH.pack(len(frame)))
        output.write(frame)
        output.flush()

    while True:
        answer(frames.next(), send)


class _Frames:
    """Frames of the parent, read in a thread that ends the process with them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame = b""
        self._is_wanted, self._is_there = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> bytes:
        self._is_there.acquire()
        frame, self._frame = self._frame, b""
        self._is_wanted.release()
        return frame

    def _read(self) -> None:
        while len(head := self._file.read(_LENGTH.size)) == _LENGTH.size:
            self._frame = self._file.read(*_LENGTH.unpack(head))
            self._is_there.release()
            self._is_wanted.acquire()
        os._exit(0)
