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
    return await asyncio.wrap_future(_run_in_daemon_thread(work))


def run_within(limit_s: float, work: Callable[[], T]) -> T:
    """Run a call with a time limit; raises `TimeoutError` and abandons its thread."""
    return _run_in_daemon_thread(work).result(limit_s)


def _run_in_daemon_thread(work: Callable[[], T]) -> Future[T]:
    """Start a call in a thread of its own; return the future of its result or error.

    A thread of an executor would be joined when Python exits; a daemon thread is not.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # it cannot be cancelled from here on

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="lmchat-apart", daemon=True).start()
    return future
