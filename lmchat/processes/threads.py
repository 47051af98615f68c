"""Threads that may be abandoned.

`run_abandonable` is for calls that may hang or take long, and may be cut off at any moment.
Examples are reads of stdin and of the user's files, the user's functions, and the daily copy.
`asyncio.to_thread` is for calls that end soon, and for writes that must be complete: Python waits
for them when it exits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_abandonable(work: Callable[[], T]) -> T:
    """Run a call that may block forever in a thread; return its result or raise its error.

    Unlike with `asyncio.to_thread`, a hanging call delays neither cancellation nor the end of
    Python: its thread is abandoned. When Python exits, it waits for the threads of an executor, but
    not for a daemon thread.
    """
    future: Future[T] = Future()
    # A future that is marked as running cannot be cancelled. If it were, the thread could not set
    # its result.
    future.set_running_or_notify_cancel()

    def run() -> None:
        """Call `work` in the thread; its result or error goes to the caller by `future`."""
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="lmchat-apart", daemon=True).start()
    return await asyncio.wrap_future(future)


def in_thread(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return an async function that calls a blocking one by `run_abandonable`."""

    @wraps(function)
    async def run(*args: P.args, **options: P.kwargs) -> T:
        return await run_abandonable(partial(function, *args, **options))

    return run
