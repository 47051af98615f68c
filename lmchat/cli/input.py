"""Reading what comes through a pipe; a signal always ends it."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys

from lmchat.text import safe_line

_LOOK_S = 0.2
"""Between two looks for a signal while a pipe is silent."""
_BLOCK_BYTES = 65_536


def read_pipe(file: int, *, limit: int | None = None) -> bytes:
    """Read to the end, or a byte more than the limit; Ctrl-C always ends it.

    An exception out of a signal's handler can be lost, between two blocks of `read()` or in a callback of the
    garbage collector: the handler only notes the signal, and the loop looks at the note.
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
    """Whether somebody is there to answer."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


async def consents(question: str) -> bool:
    """Ask, and tell whether the answer was yes; anything else means no."""
    sys.stderr.write(f"{safe_line(question)} [y/N] ")
    sys.stderr.flush()
    return (await _typed_line()).strip().lower() in _CONSENTS


async def _typed_line() -> str:
    """Return a line from the terminal; waiting for it does not keep Ctrl-C from being heard."""
    loop, is_typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), is_typed.set)
    try:
        await is_typed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()
