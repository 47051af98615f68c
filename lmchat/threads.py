"""Blocking calls in threads that can be abandoned, as for a folder of a network that is away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def apart(work: Callable[[], T]) -> T:
    """Return what a call returns that may block without end.

    Unlike a thread of `asyncio.to_thread`, one that hangs delays neither the caller's cancellation nor the
    end of the program.
    """
    return await asyncio.wrap_future(_begin(work))


def within(limit_s: float, work: Callable[[], T]) -> T:
    """Return what a call returns within a time.

    Raises:
        TimeoutError: it took longer; its thread is left behind.
    """
    return _begin(work).result(limit_s)


def _begin(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # it cannot be cancelled from here on

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="lmchat-apart", daemon=True).start()
    return future
