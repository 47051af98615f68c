"""A question at the terminal that is answered with yes or no."""

from __future__ import annotations

import asyncio
import sys

from lmchat.text import safe_line

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
