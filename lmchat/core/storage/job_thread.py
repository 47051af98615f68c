"""Thread for functions that wait for the disk: one for `Database`, one for `FileJournal`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lmchat.base.errors import StoreUnavailable

T = TypeVar("T")


class JobThread:
    """Thread that runs functions one after the other."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._has_ended = False

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Cancelling drops a job that has not started. Raises `StoreUnavailable` after `aclose`."""
        if self._has_ended:
            raise StoreUnavailable("The sessions are closed because lmchat is quitting.")
        return asyncio.wrap_future(self._executor.submit(job))

    async def run(self, job: Callable[[], T]) -> T:
        """If the caller is cancelled, the function still runs."""
        return await asyncio.shield(self.submit(job))

    async def aclose(self, last_job: Callable[[], None]) -> None:
        """Run what is queued, then `last_job`, and end the thread; a second call does nothing."""
        if not self._has_ended:
            future = self.submit(last_job)
            self._has_ended = True
            self._executor.shutdown(wait=False)
            await asyncio.shield(future)  # cancelling the caller must not drop the job
