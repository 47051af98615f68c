"""Puts backend, store, keys and engine together, for commands and for the screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import cache
from typing import Any, cast

from msgspec import Struct

from lmchat.cli.context import Context
from lmchat.cli.counters import metrics_kept
from lmchat.cli.keys import Keys
from lmchat.cli.target import places_of_variables
from lmchat.config.settings import Settings
from lmchat.domain.candidate import Remembered
from lmchat.files import write_new_file
from lmchat.services.engine_backend import with_engine
from lmchat.services.library import Library
from lmchat.services.ports import Backend, Engine, Late
from lmchat.storage import state as remembered_file
from lmchat.storage.credentials import Credentials
from lmchat.storage.store import SqliteStore

_UNSAVED = {
    **dict.fromkeys(("append", "begin_answer", "finish", "save_place", "save_draft")),
    "has_message": True,  # else the answer would be looked for
    "add_pieces": False,
}
"""Methods of a store that write what is said, and what they return where nothing is to be kept."""


class World(Struct, frozen=True, kw_only=True):
    """Parts of a command that talks to servers."""

    settings: Settings
    backend: Backend
    store: SqliteStore
    remembered: Remembered


@asynccontextmanager
async def open_world(context: Context, *, is_kept: bool | None = None) -> AsyncIterator[World]:
    """Make backend and store, and close them; add the counters to those of all runs."""
    settings, keys = context.settings, keys_of(context)
    await asyncio.to_thread(keys.load)
    for warning in keys.warnings:
        context.output.note(f"lmchat: {warning}")
    remembered, _ = await asyncio.to_thread(remembered_file.load, context.paths.remembered_file)
    store = make_store(context, is_kept=is_kept)
    backend = make_backend(context, settings, has_engine=context.is_local)
    async with aclosing(store), metrics_kept(backend.metrics, store.metrics.add), aclosing(backend):
        yield World(settings=settings, backend=backend, store=store, remembered=remembered)


@asynccontextmanager
async def open_store(context: Context) -> AsyncIterator[SqliteStore]:
    """Make the store and close it; say on stderr what opening its file had to do, if anything."""
    async with aclosing(make_store(context)) as store:
        yield store
        if store.notice:
            context.output.note(f"lmchat: {store.notice}")


@cache
def keys_of(context: Context) -> Keys:
    """Return the keys of this run; `load` them before use, off the event loop."""
    return Keys(context.loaded, context.environ, Credentials(context.paths.credentials_file))


def make_backend(context: Context, settings: Settings, *, has_engine: bool = False) -> Backend:
    """Return the proxy-client layer, with the built-in engine among its servers if wanted; imports httpx."""
    from lmchat.proxy.client import ProxyClient

    keys = keys_of(context)
    client = ProxyClient(
        settings,
        key_for=keys.key_for,
        cache_file=context.paths.models_file,
        is_lasting=keys.is_lasting,
    )
    client.expect(places_of_variables(context.environ))
    return with_engine(client, lambda: engine_slot(context).made) if has_engine else client


@cache
def engine_slot(context: Context) -> Late[Engine]:
    """Return the built-in engine of this run, which is made when it is first wanted."""

    def make() -> Engine:
        from lmchat.engine.engine import LocalEngine

        return LocalEngine(
            context.settings.local,
            folder=context.paths.demo_dir,
            log_file=context.paths.engine_log_file,
            environ=context.environ,
            on_address=keys_of(context).accept,
        )

    return Late(make)


def make_store(context: Context, *, is_kept: bool | None = None) -> SqliteStore:
    """Return the store, whose file is opened with the first call.

    What is said is left out of it with `--temporary`, unless `is_kept` decides.
    """
    store = SqliteStore(context.paths.sessions_file)
    is_kept = not context.options.temporary if is_kept is None else is_kept
    return store if is_kept else cast("SqliteStore", UnsavedStore(store))


def make_library(store: SqliteStore) -> Library:
    """Return the list of sessions."""
    return Library(store, write_file=write_new_file)


class UnsavedStore:
    """A store that reads and counts, but writes down nothing that is said."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name not in _UNSAVED:
            return getattr(self._store, name)

        async def keep_nothing(*_: object, **__: object) -> bool | None:
            return _UNSAVED[name]

        return keep_nothing
