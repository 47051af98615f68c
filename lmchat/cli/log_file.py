"""The log: JSON lines in the state folder, rotated, without the content of any chat."""

from __future__ import annotations

import logging
import os
import queue
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path

from lmchat.errors import LMChatError
from lmchat.paths import make_folder
from lmchat.text import safe_line

_LARGEST_BYTES = 1_000_000
_KEPT = 3
_LONGEST = 500
"""Characters of one message."""


class LogFile(logging.Handler):
    """Writes from a thread of its own, begun with the first record: no caller ever waits for the disk."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        self._lines.put(as_line(record))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what is pending."""
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join(timeout=2)
            self._thread = None
        super().close()

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line)
            except (OSError, LMChatError):
                continue  # a log that cannot be written costs the log alone

    def _write(self, line: str) -> None:
        make_folder(self._path.parent)
        if self._path.exists() and self._path.stat().st_size > _LARGEST_BYTES:
            self._rotate()
        # without O_NONBLOCK a pipe of this name would be waited for
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        handle = os.open(self._path, how, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(line + "\n")

    def _rotate(self) -> None:
        for number in range(_KEPT - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))


def start_log(path: Path, level: str) -> LogFile:
    """Send the records of lmchat at this level, and the warnings of its libraries, to a file."""
    handler = LogFile(path)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("lmchat").setLevel(level.upper())
    return handler


def as_line(record: logging.LogRecord) -> str:
    """Write a record as JSON; of an exception type and places only, since its text may quote a chat."""
    import json  # 7 ms that a start without a fault does not need

    entry: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": safe_line(record.getMessage(), limit=_LONGEST),
    }
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        entry["exception"] = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        entry["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return json.dumps(entry)
