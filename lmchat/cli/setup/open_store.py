"""The stores of sessions and of stats, for commands.

This module imports no HTTP client, since most of these commands need none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from lmchat.cli.context import Context
from lmchat.storage.stats_store import StatsStore
from lmchat.storage.store import Store, database_in_file


@asynccontextmanager
async def open_stores(
    context: Context, *, is_saved: bool = True, is_noted: bool = True
) -> AsyncIterator[tuple[Store, StatsStore]]:
    """Make the stores for the block and close them after it; their first use opens the file.

    The store of sessions is temporary, and writes nothing to the disk, if the command saves no
    session (`is_saved`) or has the option `--temporary`. Stats, which hold no text, are in the file
    in any case. If a damaged file had to be replaced, a note says so at the end of the block; the
    screen, which shows that itself, asks for none.
    """
    options, path = context.options, context.paths.sessions_file
    is_temporary = options.temporary or not is_saved
    store = Store(
        path,
        is_temporary=is_temporary,
        # Only a temporary store looks at this: it copies what is saved, if somebody wants to read
        # it. A temporary chat lists the saved sessions, and `-r` continues one of them.
        shows_saved=bool(options.temporary or options.resume),
    )
    stats_store = StatsStore(database_in_file(path) if is_temporary else store.database)
    async with aclosing(store), aclosing(stats_store):
        try:
            yield store, stats_store
        finally:
            if stats_store.notice and is_noted:
                context.output.note(f"lmchat: {stats_store.notice}")


@asynccontextmanager
async def open_store(context: Context) -> AsyncIterator[Store]:
    """The same for a command about sessions alone."""
    async with open_stores(context) as (store, _):
        yield store
