"""Blocking calls in threads that can be abandoned, as for an unreachable network folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def run_abandonable(work: Callable[[], T]) -> T:
    """Run a call that may block forever.

    Unlike `asyncio.to_thread`, a hanging call delays neither cancellation nor the program's end.
    """
    return await asyncio.wrap_future(_begin(work))


def run_within(limit_s: float, work: Callable[[], T]) -> T:
    """Run a call with a time limit; raises `TimeoutError` and abandons its thread."""
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
