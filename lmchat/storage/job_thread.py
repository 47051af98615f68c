"""Thread for functions of any kind that wait for the disk, so that the event loop does not.

`Database` has one and adds what jobs on a connection need; `FileJournal` has another one for the
files of running answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lmchat.errors import StoreUnavailable

T = TypeVar("T")


class JobThread:
    """Thread that runs functions, one after the other."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._has_ended = False

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Queue a function and return the future of its result.

        Cancelling the future drops the function if it has not begun. Raises `StoreUnavailable`
        after `aclose`.
        """
        if self._has_ended:
            raise StoreUnavailable("The sessions are closed because lmchat is quitting.")
        return asyncio.wrap_future(self._executor.submit(job))

    async def run(self, job: Callable[[], T]) -> T:
        """Run a function and return its result; if the caller is cancelled, it still runs."""
        return await asyncio.shield(self.submit(job))

    async def aclose(self, last_job: Callable[[], None]) -> None:
        """Run the queued functions, then `last_job`, and end the thread.

        A second call does nothing.
        """
        if not self._has_ended:
            future = self.submit(last_job)
            self._has_ended = True
            self._executor.shutdown(wait=False)
            await asyncio.shield(future)  # cancelling the caller must not drop the job
