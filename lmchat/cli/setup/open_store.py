"""The stores of sessions and of stats, for commands, without an HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import NamedTuple

from lmchat.cli.context import Context
from lmchat.errors import LMChatError
from lmchat.storage.stats_store import StatsStore
from lmchat.storage.store import Store


class Stores(NamedTuple):
    """The stores of one command."""

    saved: Store  # in the file
    store: Store  # of the command: the same, or in memory
    stats_store: StatsStore


@asynccontextmanager
async def open_stores(
    context: Context, *, is_saved: bool = True, is_noted: bool = True
) -> AsyncIterator[Stores]:
    """Make the stores for the block; their first use opens the file.

    `store` is in memory for a command that saves no session (`is_saved`), and with `--temporary`.
    Stats, which hold no text, are in the file in any case. After the block, a file that was written
    is checked and copied once a day, and a note says if a damaged one was replaced; the screen does
    both itself.
    """
    paths = context.paths
    saved = Store(paths.sessions_file, kept_prompts=paths.kept_prompts_dir)
    store = saved if is_saved and not context.options.temporary else Store()
    async with aclosing(saved), aclosing(store):
        try:
            yield Stores(saved, store, StatsStore(saved.database))
            if saved.database.has_written and is_noted:
                with suppress(LMChatError):  # what was written is safe
                    await saved.daily_check()
        finally:
            if saved.notice and is_noted:
                context.output.note(f"lmchat: {saved.notice}")


@asynccontextmanager
async def open_store(context: Context) -> AsyncIterator[Store]:
    async with open_stores(context) as stores:
        yield stores.saved
