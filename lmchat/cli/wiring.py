"""Puts the parts together: the one place that knows proxy, storage and services at once."""

from __future__ import annotations

from lmchat.cli.parts import Parts
from lmchat.services.library import Library
from lmchat.storage.sessions import SessionStore
from lmchat.storage.whole_file import write_new_file


def make_store(parts: Parts) -> SessionStore:
    """Return the store; the file is opened with the first call."""
    return SessionStore(parts.paths.sessions_file)


def make_library(store: SessionStore) -> Library:
    """Return the list of sessions."""
    return Library(store, write_file=write_new_file)


def tell_notice(parts: Parts, store: SessionStore) -> None:
    """Say on stderr what opening the file had to do, if anything."""
    if store.notice:
        parts.output.note(f"lmchat: {store.notice}")
