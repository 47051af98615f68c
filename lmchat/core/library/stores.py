"""The stores of sessions and of stats, for commands and the Python API, without an HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import NamedTuple

from lmchat.base.errors import LMChatError
from lmchat.base.files.paths import Paths
from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.storage.store import Store


class Stores(NamedTuple):
    saved: Store  # in the file
    store: Store  # of the run: the same, or in memory
    stats_store: StatsStore


@asynccontextmanager
async def open_stores(
    paths: Paths, *, is_saved: bool = True, note: Callable[[str], object] | None
) -> AsyncIterator[Stores]:
    """Make the stores for the block; their first use opens the file.

    Without `is_saved`, sessions are in memory; stats, which hold no text, are in the file in any
    case. After the block, a file that was written is checked and copied once a day, and `note` gets
    what was found or mended in it; without `note`, the caller does both.
    """
    saved = Store(paths.sessions_file, kept_prompts=paths.kept_prompts_dir)
    store = saved if is_saved else Store()
    async with aclosing(saved), aclosing(store):
        try:
            yield Stores(saved, store, StatsStore(saved.database))
            if saved.database.has_written and note is not None:
                with suppress(LMChatError):  # what was written is safe
                    await saved.daily_check()
        finally:
            database = saved.database
            # who reads sessions, or saves one, has the error of a damaged file
            is_told = is_saved and database.is_damaged and not database.has_written
            if saved.notice and note is not None and not is_told:
                note(saved.notice)


@asynccontextmanager
async def open_saved(paths: Paths, note: Callable[[str], object]) -> AsyncIterator[Store]:
    """Open the saved sessions alone."""
    async with open_stores(paths, note=note) as stores:
        yield stores.saved
