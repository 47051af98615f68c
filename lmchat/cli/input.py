"""Input from pipes and from the user, always interruptible."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys

from lmchat.text import safe_line

_LOOK_S = 0.2  # between two looks for a signal while a pipe is silent
_BLOCK_BYTES = 65_536


def read_pipe(file: int, *, limit: int | None = None) -> bytes:
    """Read to the end, or one byte more than the limit; raises KeyboardInterrupt on Ctrl+C.

    The handler only records the signal, since an exception in a handler can be lost.
    """
    noted: list[int] = []
    data = bytearray()
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else it is ignored, as in the background of a shell
        signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    try:
        while not noted:
            if select.select([file], [], [], _LOOK_S)[0]:
                block = os.read(file, _BLOCK_BYTES)
                data += block
                if not block or (limit is not None and len(data) > limit):
                    return bytes(data)
    finally:
        signal.signal(signal.SIGINT, before)
    raise KeyboardInterrupt


_CONSENTS = ("y", "yes")


def can_ask() -> bool:
    """Return whether stdin and stderr are a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


async def consents(question: str) -> bool:
    """Ask a yes/no question; anything but yes means no."""
    sys.stderr.write(f"{safe_line(question)} [y/N] ")
    sys.stderr.flush()
    return (await _typed_line()).strip().lower() in _CONSENTS


async def _typed_line() -> str:
    """Read a line without blocking Ctrl+C."""
    loop, is_typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), is_typed.set)
    try:
        await is_typed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()
