"""A connection to the sessions' file, and the thread that it is used on."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from lmchat.storage.connection import Connection


class OwnThread:
    """A thread of its own for a connection, which is opened there when it is first wanted."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        """Which file was opened: another one may stand at its path by now."""
        self._is_closed = False

    async def aclose(self) -> None:
        """Wait for what is pending and close the connection; done again, that does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        future = self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(future))

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
