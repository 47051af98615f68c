"""Tasks that end with what started them, and threads that may be abandoned.

`asyncio.to_thread` is for short calls, and for writes that must be complete: Python waits for them
when it exits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_abandonable(work: Callable[[], T]) -> T:
    """Run a call that may block forever; it delays neither cancellation nor the end of Python."""
    future: Future[T] = Future()
    # one that is marked as running cannot be cancelled: the thread could not set its result
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except StopIteration as error:  # no future of asyncio takes it
            future.set_exception(RuntimeError(repr(error)))
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="lmchat-apart", daemon=True).start()
    return await asyncio.wrap_future(future)


def in_thread(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make an async function that calls a blocking one by `run_abandonable`."""

    @wraps(function)
    async def run(*args: P.args, **options: P.kwargs) -> T:
        return await run_abandonable(partial(function, *args, **options))

    return run


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine while the block runs; its errors are ignored."""
    task = asyncio.create_task(work, name="background")
    try:
        yield
    finally:
        await end_tasks(task)


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end; their errors are ignored."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
