"""The store of sessions, for commands.

This module imports no HTTP client, since most of these commands need none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from lmchat.cli.context import Context
from lmchat.storage.store import Store


def make_store(context: Context, *, is_saved: bool = True) -> Store:
    """Return the store of sessions, which opens its file when one of its methods is first called.

    The store is temporary, and writes nothing to the disk, if the command saves no session or has
    the option `--temporary`.
    """
    options = context.options
    return Store(
        context.paths.sessions_file,
        is_temporary=options.temporary or not is_saved,
        # Only a temporary store looks at this: it copies what is saved, if somebody wants to read
        # it. A temporary chat lists the saved sessions, and `-r` continues one of them.
        shows_saved=bool(options.temporary or options.resume),
    )


@asynccontextmanager
async def open_store(
    context: Context, *, is_saved: bool = True, is_noted: bool = True
) -> AsyncIterator[Store]:
    """Make a store for the block and close it after the block; `is_saved` as in `make_store`.

    If the store had to replace a damaged file, a note says so at the end of the block; the screen,
    which shows that itself, asks for none.
    """
    async with aclosing(make_store(context, is_saved=is_saved)) as store:
        try:
            yield store
        finally:
            if store.notice and is_noted:
                context.output.note(f"lmchat: {store.notice}")
