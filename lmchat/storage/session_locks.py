"""Locks of the sessions that are in the memory of an lmchat: no other one purges them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from lmchat.errors import StoreUnavailable
from lmchat.files.disk import files_in
from lmchat.sessions.journal_entries import RESET
from lmchat.storage import opening
from lmchat.storage.journal import LineFile, is_running, read_answer

_logger = logging.getLogger(__name__)

_WINDOW, _PURGE = "window", "purge"  # in names of files
_LOOK_AGAIN_S = 0.02


class SessionLocks:
    """Ids of the sessions in memory, here and in other processes; every method blocks.

    Each process has a file `sessions.db-window-RANDOM`, whose last line has its ids, and locks it.
    During a purge, there is also a locked file `sessions.db-purge-RANDOM`. A lock ends with its
    process. Without `has_others`, as in a temporary chat, no file is written.
    """

    def __init__(self, database_path: Path, *, has_others: bool = True) -> None:
        self._database_path = database_path
        self._has_others = has_others
        self._ids: frozenset[str] = frozenset()  # in the last line
        self._file = self._new_file(_WINDOW)

    def hold(self, session_id: str) -> None:
        """Hold a session before it is read; first wait for the end of a purge.

        Raises `StoreUnavailable` if that takes too long.
        """
        if session_id in self._ids:
            return
        self.keep(self._ids | {session_id})
        # A purge that starts from here on leaves the session; one that has started is seen here.
        until_s = monotonic() + opening.BUSY_S
        while any(map(is_running, self._files(_PURGE))):
            if monotonic() > until_s:
                self.release(session_id)
                problem = "Another lmchat is deleting sessions permanently."
                raise StoreUnavailable(
                    problem, next_step="Wait until it has ended, then try again."
                )
            sleep(_LOOK_AGAIN_S)

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
        for path in [*self._files(_WINDOW), *self._files(_PURGE)]:
            if is_running(path):
                with suppress(FileNotFoundError):  # its process has just ended
                    _, entries = read_answer(path)
                    held.update(session_id for _, session_id in entries)
            else:
                with suppress(OSError):  # a read-only folder
                    path.unlink()
        return held

    @contextmanager
    def purging(self) -> Iterator[set[str]]:
        """Yield the ids of all processes; none of them reads another session until the block ends.

        Raises `OSError`.
        """
        file = self._new_file(_PURGE)
        try:
            if self._has_others:
                with suppress(OSError):  # a full disk: a file that is empty is locked, too
                    file.add(())
            yield self.held_ids()
        finally:
            file.remove()

    def close(self) -> None:
        self._ids = frozenset()
        self._file.remove()

    def _new_file(self, kind: str) -> LineFile:
        name = f"{self._database_path.name}-{kind}-{os.urandom(4).hex()}"
        return LineFile(self._database_path.with_name(name))

    def _files(self, kind: str) -> list[Path]:
        path = self._database_path
        return files_in(path.parent, f"{path.name}-{kind}-*")
