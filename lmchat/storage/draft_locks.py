"""Locks of drafts of unsaved sessions: has a window left one, or does it still write it?

If so, an empty file `sessions.db-draft-ID` is locked; a lock ends with its process.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from lmchat.storage.journal import create_locked, is_running

_logger = logging.getLogger(__name__)


class DraftLocks:
    """The locks of this process; every method blocks."""

    def __init__(self, database_path: Path) -> None:
        self._database_path = database_path
        self._descriptors: dict[str, int] = {}  # by the ids of the sessions

    def lock(self, session_id: str) -> None:
        if session_id not in self._descriptors:
            try:
                self._descriptors[session_id] = create_locked(self._path(session_id))
            except OSError as error:  # another window may take it; both write it at the end
                _logger.warning("a draft could not be locked: %s", error.strerror)

    def is_locked(self, session_id: str) -> bool:
        """Whether the draft belongs to an lmchat that runs, such as this."""
        return is_running(self._path(session_id))

    def release(self, session_id: str) -> None:
        descriptor = self._descriptors.pop(session_id, None)
        if descriptor is not None:
            os.close(descriptor)
            self._remove(self._path(session_id))

    def remove_abandoned(self) -> None:
        folder, name = self._database_path.parent, self._database_path.name
        for path in folder.glob(f"{name}-draft-*"):
            if not is_running(path):
                self._remove(path)

    def close(self) -> None:
        for session_id in list(self._descriptors):
            self.release(session_id)

    def _path(self, session_id: str) -> Path:
        name = f"{self._database_path.name}-draft-{quote(session_id, safe='')}"
        return self._database_path.with_name(name)

    @staticmethod
    def _remove(path: Path) -> None:
        with suppress(OSError):  # another process has removed it, or the folder is read-only
            path.unlink()
