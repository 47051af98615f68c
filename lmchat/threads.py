"""Looking at what may hang: in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def apart(look: Callable[[], T]) -> T:
    """Look at something that may block for ever, as a folder of a network that is away.

    The thread is a daemon: one that hangs keeps neither who asked nor the end of the program waiting, as
    those of `asyncio.to_thread` would.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # it is set where no error is

    def work() -> None:
        result, error = None, None
        try:
            result = look()
        except BaseException as caught:  # noqa: BLE001 - handed to who waits for it
            error = caught
        with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="lmchat-apart", daemon=True).start()
    return await future
