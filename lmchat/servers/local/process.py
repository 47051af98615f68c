"""Log of the output of a model server, and the wait until it answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from lmchat.files.disk import begin_log

_POLL_S = 0.1
_Answer = TypeVar("_Answer")


@asynccontextmanager
async def new_log(path: Path) -> AsyncIterator[int]:
    """Yield the descriptor of a new log; raise `OSError`."""
    log = await asyncio.to_thread(begin_log, path)
    try:
        yield log
    finally:
        os.close(log)  # the program has its own copy


async def first_answer(
    ask: Callable[[], Awaitable[_Answer | None]], has_ended: Callable[[], bool]
) -> _Answer | None:
    """Return None if the server has ended before it answers."""
    while not has_ended():
        answer = await ask()
        if answer is not None:
            return answer
        await asyncio.sleep(_POLL_S)
    return None
