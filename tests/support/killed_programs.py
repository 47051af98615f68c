"""Programs on a session file that are killed at a random moment."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

_COPIES = multiprocessing.get_context("forkserver")
_COPIES.set_forkserver_preload(["tests.support.chat_turns"])

# gets the file, the id of a session, its own name, and where it tells what is saved
Program = Callable[[Path, str, int, int], Coroutine[None, None, None]]


def _run(program: Program, path: Path, session_id: str, name: int, told) -> None:
    asyncio.run(program(path, session_id, name, told.fileno()))


def killed_program(
    program: Program, path: Path, session_id: str, name: int, lines_before: int, life_s: float
) -> list[str]:
    """Run a program, kill it so long after it has told some lines, and return all that it has told."""
    heard, told = _COPIES.Pipe(duplex=False)
    process = _COPIES.Process(target=_run, args=(program, path, session_id, name, told))
    process.start()
    told.close()
    with heard:
        lines = b""
        while lines.count(b"\n") < lines_before:
            lines += os.read(heard.fileno(), 1 << 16)
        time.sleep(life_s)
        process.kill()
        process.join()
        while more := os.read(heard.fileno(), 1 << 16):
            lines += more
    return lines.decode().splitlines()
