"""The log of lmchat: one JSON object a line, without the text of any chat."""

from __future__ import annotations

import logging
import os
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lmchat.base.errors import LMChatError
from lmchat.base.files.disk import NO_WAIT, OPEN_FLAGS, OWNER_ONLY, ensure_folder
from lmchat.base.safe_text import safe_line

_MAX_BYTES = 1_000_000  # a larger file becomes the older one
_MAX_MESSAGE = 500  # characters


class LogFile(logging.Handler):
    """Log handler that appends to a file, and keeps one older file beside it.

    A record that cannot be written is dropped.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, LMChatError):  # a full disk, a folder of another user
            ensure_folder(self._path.parent)
            if self._path.exists() and self._path.stat().st_size > _MAX_BYTES:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            # NO_WAIT: opening a pipe of this name would wait for its reader
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | OPEN_FLAGS | NO_WAIT
            with os.fdopen(os.open(self._path, flags, OWNER_ONLY), "w", encoding="utf-8") as file:
                file.write(as_json_line(record) + "\n")


def start_log(path: Path, level: str) -> LogFile:
    """Log records of lmchat from `level` on, and of libraries from WARNING on.

    These include the warnings that Python would print.
    """
    handler = LogFile(path)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("lmchat").setLevel(level.upper())
    return handler


def as_json_line(record: logging.LogRecord) -> str:
    """Write a record as one line of JSON; `at` has the stack of its exception.

    The text of the exception is left out, as it may quote a chat.
    """
    import json  # noqa: PLC0415 - 7 ms that a start without errors does not need

    message = record.getMessage()
    if record.name == "asyncio":  # further lines show a task with the text of its exception
        message = message.partition("\n")[0]
    entry: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": safe_line(message, limit=_MAX_MESSAGE),
    }
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        frames = traceback.extract_tb(error.__traceback__)
        entry["exception"] = type(error).__name__
        entry["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return json.dumps(entry)
