"""Puts backend, store, keys and engine together, for commands and for the screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import cache, partial

from msgspec import Struct

from lmchat.cli.context import Context
from lmchat.cli.counters import metrics_kept
from lmchat.cli.keys import Keys
from lmchat.cli.target import places_of_variables
from lmchat.config.settings import Settings
from lmchat.domain.candidate import Remembered
from lmchat.domain.message import ChatMessage
from lmchat.domain.session import SessionHeader
from lmchat.files import write_new_file
from lmchat.services.engine_backend import with_engine
from lmchat.services.late import Late
from lmchat.services.library import Library
from lmchat.services.ports import Backend, Engine
from lmchat.storage import state as remembered_file
from lmchat.storage.credentials import Credentials
from lmchat.storage.store import SessionStore


class UnsavedStore(SessionStore):
    """The usual store for all but the words of the chat."""

    async def append(self, session: SessionHeader, message: ChatMessage) -> None:
        """Keep nothing."""

    async def begin_answer(self, session_id: str, message: ChatMessage, *, has_prompt: bool = True) -> None:
        """Keep nothing."""

    async def has_message(self, message_id: str) -> bool:
        """Let nobody look for what is not to be kept."""
        del message_id
        return True

    async def add_pieces(self, message_id: str, pieces: Sequence[tuple[str, str]]) -> bool:
        """Keep nothing."""
        del message_id, pieces
        return False

    async def finish(self, session_id: str, message: ChatMessage) -> None:
        """Keep nothing."""

    async def save_place(self, session_id: str, place: str) -> None:
        """Keep nothing."""

    async def save_draft(self, session_id: str, text: str) -> None:
        """Keep nothing."""


class World(Struct, frozen=True, kw_only=True):
    """What a command that talks to servers works with."""

    settings: Settings
    """The merged configuration."""
    backend: Backend
    """The proxy-client layer."""
    store: SessionStore
    """The disk."""
    remembered: Remembered
    """From earlier runs."""


@asynccontextmanager
async def open_world(context: Context, *, is_kept: bool | None = None) -> AsyncIterator[World]:
    """Make backend and store, and close them; what is counted meanwhile is added to that of all runs."""
    settings, keys = context.settings, keys_of(context)
    await asyncio.to_thread(keys.load)
    for warning in keys.warnings:
        context.output.note(f"lmchat: {warning}")
    remembered, _ = await asyncio.to_thread(remembered_file.load, context.paths.remembered_file)
    store = make_store(context, is_kept=is_kept)
    backend = make_backend(context, settings)
    if context.is_local:
        backend = with_engine(backend, engine_of(context))
    async with aclosing(store), metrics_kept(backend.metrics, store.metrics.add), aclosing(backend):
        yield World(settings=settings, backend=backend, store=store, remembered=remembered)


@cache
def keys_of(context: Context) -> Keys:
    """Return the keys of this run; `load` them before use, off the event loop."""
    return Keys(context.loaded, context.environ, Credentials(context.paths.credentials_file))


def make_backend(context: Context, settings: Settings) -> Backend:
    """Return the proxy-client layer; imports httpx."""
    from lmchat.proxy.client import ProxyClient

    keys = keys_of(context)
    client = ProxyClient(
        settings,
        key_for=keys.key_for,
        cache_file=context.paths.models_file,
        is_lasting=keys.is_lasting,
    )
    client.expect(places_of_variables(context.environ))
    return client


@cache
def engine_slot(context: Context) -> Late[Engine]:
    """Return the built-in engine of this run, which is made when it is first wanted."""
    return Late(partial(_make_engine, context))


def engine_of(context: Context) -> Callable[[], Engine | None]:
    """Return a function that returns the engine once it is made."""
    slot = engine_slot(context)
    return lambda: slot.made


def _make_engine(context: Context) -> Engine:
    from lmchat.engine.engine import LocalEngine

    return LocalEngine(
        context.settings.local,
        folder=context.paths.demo_dir,
        log_file=context.paths.engine_log_file,
        environ=context.environ,
        on_address=keys_of(context).accept,
    )


def make_store(context: Context, *, is_kept: bool | None = None) -> SessionStore:
    """Return the store, whose file is opened with the first call.

    What is said is left out of it with `--temporary`, unless `is_kept` decides.
    """
    is_kept = not context.options.temporary if is_kept is None else is_kept
    return (SessionStore if is_kept else UnsavedStore)(context.paths.sessions_file)


def make_library(store: SessionStore) -> Library:
    """Return the list of sessions."""
    return Library(store, write_file=write_new_file)


def tell_notice(context: Context, store: SessionStore) -> None:
    """Say on stderr what opening the file had to do, if anything."""
    if store.notice:
        context.output.note(f"lmchat: {store.notice}")
