"""Locks of the sessions that are in the memory of an lmchat: no other one purges them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lmchat.base.files.disk import files_in
from lmchat.core.sessions.journal_entries import RESET
from lmchat.core.storage.journal import LineFile, is_running, read_answer

_logger = logging.getLogger(__name__)


class SessionLocks:
    """Ids of the sessions in memory, here and in other processes; every method blocks.

    Each process has a file `sessions.db-window-RANDOM`, whose last line has its ids, and locks it.
    A lock ends with its process. Without `has_others`, as in a temporary chat, no file is written.
    """

    def __init__(self, database_path: Path, *, has_others: bool) -> None:
        self._database_path = database_path
        self._has_others = has_others
        self._ids: frozenset[str] = frozenset()  # in the last line
        name = f"{database_path.name}-window-{os.urandom(4).hex()}"
        self._file = LineFile(database_path.with_name(name))

    def hold(self, session_id: str) -> None:
        """Hold a session before it is read: a purge that has started lets nobody read."""
        self.keep(self._ids | {session_id})

    def release(self, session_id: str) -> None:
        self.keep(self._ids - {session_id})

    def keep(self, session_ids: Iterable[str]) -> None:
        """Hold these and no others; after a failure, as of a full disk, the next call tries it."""
        ids = frozenset(session_ids)
        if not self._has_others or ids == self._ids:
            return
        try:
            self._file.add([RESET, *(("session", session_id) for session_id in ids)])
        except OSError as error:
            _logger.warning("the open sessions could not be locked: %s", error.strerror)
        else:
            self._ids = ids

    def held_ids(self) -> set[str]:
        """Return the ids of all processes; remove files of ended ones. Raises `OSError`."""
        held = set(self._ids)
        for path in files_in(self._database_path.parent, f"{self._database_path.name}-window-*"):
            if is_running(path):
                with suppress(FileNotFoundError):  # its process has just ended
                    _, entries = read_answer(path)
                    held.update(session_id for _, session_id in entries)
            else:
                with suppress(OSError):  # a read-only folder
                    path.unlink()
        return held

    def close(self) -> None:
        self._ids = frozenset()
        self._file.remove()
