"""What SQLite and the system complain about, as one clear sentence with the next step."""

from __future__ import annotations

import errno
import re
import sqlite3
from pathlib import Path

from lmchat.errors import StoreUnavailable

_NO_ROOM = "Make room on the disk; what is missing is then written."
_PERMISSION = "Check who may write there, or set LMCHAT_HOME to another folder."

_SQLITE = {
    "SQLITE_FULL": ("there is no room left", _NO_ROOM),
    "SQLITE_IOERR_WRITE": ("there is no room left, or the disk refuses to write", _NO_ROOM),
    "SQLITE_IOERR_SHMSIZE": ("there is no room left", _NO_ROOM),
    "SQLITE_READONLY": ("it may not be written", _PERMISSION),
    "SQLITE_PERM": ("it may not be written", _PERMISSION),
    "SQLITE_AUTH": ("it may not be written", _PERMISSION),
    "SQLITE_CANTOPEN": ("it cannot be opened", _PERMISSION),
    "SQLITE_BUSY": ("another program keeps it locked", "Close what else uses it, then try again."),
    "SQLITE_LOCKED": ("another program keeps it locked", "Close what else uses it, then try again."),
    "SQLITE_CORRUPT": ("it is damaged", "The next start of lmchat sets it aside and begins a new one."),
    "SQLITE_NOTADB": ("it is damaged", "The next start of lmchat sets it aside and begins a new one."),
    "SQLITE_IOERR": (
        "the disk reports an error, or there is no room left",
        "Make room on the disk, or check it.",
    ),
}
_SYSTEM = {
    errno.ENOSPC: ("there is no room left", _NO_ROOM),
    errno.EDQUOT: ("there is no room left for this user", _NO_ROOM),
    errno.EFBIG: ("there is no room left for it", _NO_ROOM),
    errno.EACCES: ("it may not be written", _PERMISSION),
    errno.EPERM: ("it may not be written", _PERMISSION),
    errno.EROFS: ("the disk is read-only", _PERMISSION),
    errno.ENOTDIR: ("a part of its path is a file", "Set LMCHAT_HOME to a folder."),
}
_PASSING = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_INTERRUPT", "SQLITE_CONSTRAINT"),
    *("SQLITE_FULL", "SQLITE_IOERR_WRITE"),  # a full disk may have no room to open the file once more
)
BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file raises: the message about a damaged table may itself be no text."""
LOST_ROW = "a row that was just written is not there"
"""What a broken index looks like: SQLite itself does not notice."""
_DAMAGE_WORDS = ("unsupported file format", " already exists", LOST_ROW)
"""What SQLite has no code for; the second is said where the version in the file is lost."""
_BARE = "SQLITE_IOERR"
"""What the index of words makes of a disk that is full; other errors of the disk have longer names."""
_LOST_TABLE = re.compile("no such (table|column): |has no column named ")
"""What a damaged entry of a table reads like; lmchat itself never asks for what there is not."""
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def explain(error: Exception, path: Path) -> StoreUnavailable:
    """Return what to say about a file that failed."""
    reason, hint = _reason(error)
    return StoreUnavailable(
        f"{path.name} cannot be used: {reason}.", hint=hint, details=f"{path}: {name_of(error) or error}"
    )


def closed() -> StoreUnavailable:
    """Return what to say to somebody who comes after the end."""
    return StoreUnavailable("The sessions are closed: lmchat is about to end.")


def name_of(error: BaseException) -> str:
    """Return SQLite's name of an error, empty where it has none."""
    return str(getattr(error, "sqlite_errorname", None) or "")


def is_damage(error: Exception) -> bool:
    """Whether the file itself is broken."""
    if isinstance(error, UnicodeDecodeError):
        return True
    words = str(error)
    is_told = name_of(error).startswith(_DAMAGE)
    return is_told or words.endswith(_DAMAGE_WORDS) or _LOST_TABLE.search(words) is not None


def is_passing(error: Exception) -> bool:
    """Whether the connection is as good as before."""
    return name_of(error).startswith(_PASSING) or name_of(error) == _BARE


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, OSError):
        return _SYSTEM.get(error.errno or 0, (error.strerror or str(error), _PERMISSION))
    name = "SQLITE_CORRUPT" if is_damage(error) else name_of(error)
    for prefix, reason in _SQLITE.items():
        if name.startswith(prefix):
            return reason
    return str(error), "Look into the log file, then start lmchat again."
