"""Threads that may be abandoned."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def run_abandonable(work: Callable[[], T]) -> T:
    """Run a call that may block forever in a thread; return its result or raise its error.

    Unlike with `asyncio.to_thread`, a hanging call delays neither cancellation nor the end of
    Python: its thread is abandoned. Python waits for the threads of an executor when it exits, and
    does not for a daemon thread.
    """
    future: Future[T] = Future()
    # marked as running, it cannot be cancelled: the thread could not set a result then
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="lmchat-apart", daemon=True).start()
    return await asyncio.wrap_future(future)
