"""The stores of sessions and of stats, for commands, without an HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lmchat.cli.context import Context
from lmchat.library.stores import open_stores
from lmchat.storage.store import Store


@asynccontextmanager
async def open_store(context: Context) -> AsyncIterator[Store]:
    async with open_stores(context.paths, note=context.note) as stores:
        yield stores.saved
