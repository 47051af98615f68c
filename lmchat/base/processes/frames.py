"""Frames between a child process and its parent, for the child.

`child.py` has the parent's side; it imports asyncio, with which a child would be twice as large.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

LENGTH = struct.Struct(">Q")  # size of a frame in bytes, before it


def limit_memory(limit_bytes: int) -> None:
    """Limit the memory of this process, a child; code that needs more raises `MemoryError`.

    No effect on Windows and macOS, and where a lower limit is set.
    """
    with suppress(ImportError, ValueError):  # macOS refuses any limit, Linux a higher one
        import resource  # noqa: PLC0415 - Windows has none

        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


def answer_parent(answer: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
    """Call `answer` with each frame of the parent and a function that sends one.

    The process ends with the parent, even while `answer` works.
    """
    output = os.fdopen(os.dup(1), "wb")
    # what libraries print must not get between the frames
    os.dup2(2, 1)
    frames: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_frames, args=(frames,), daemon=True).start()

    def send(frame: bytes) -> None:
        output.write(LENGTH.pack(len(frame)))
        output.write(frame)
        output.flush()

    while True:
        answer(frames.get(), send)


def _read_frames(frames: SimpleQueue[bytes]) -> None:
    source = sys.stdin.buffer
    while True:
        packed_length = source.read(LENGTH.size)
        if len(packed_length) < LENGTH.size:
            os._exit(0)
        (length,) = LENGTH.unpack(packed_length)
        frames.put(source.read(length))
