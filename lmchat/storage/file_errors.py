"""Errors of files: their reasons and next steps, found by the name of an error.

The name is that of SQLite (`SQLITE_BUSY`) or of the system (`EACCES`).
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from lmchat.errors import StoreUnavailable

_FREE_SPACE = "Free some disk space; lmchat then saves the rest."
_PERMISSION = "Check the permissions there, or set LMCHAT_HOME to another folder."
# Reasons for an error, each with the next step.
_LOCKED = ("another program has locked it", "Close the other program, then try again.")
_DAMAGED = ("it is damaged", "At the next start lmchat renames it and creates a new one.")
_NOT_WRITABLE = ("writing is not permitted", _PERMISSION)
_BAD_DISK = (
    "the disk reports an error, or is full",
    "Free some disk space, or check the disk.",
)
_FULL = ("the disk is full", _FREE_SPACE)
_REASONS = {
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR_WRITE": _FULL,
    "SQLITE_IOERR": _BAD_DISK,
    "SQLITE_CANTOPEN": ("it cannot be opened", _PERMISSION),
    "SQLITE_READONLY": _NOT_WRITABLE,
    "SQLITE_PERM": _NOT_WRITABLE,
    "SQLITE_AUTH": _NOT_WRITABLE,
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "ENOSPC": _FULL,
    "EDQUOT": _FULL,
    "EFBIG": _FULL,
    "EACCES": _NOT_WRITABLE,
    "EPERM": _NOT_WRITABLE,
    "EROFS": ("the disk is read-only", _PERMISSION),
    "ENOTDIR": ("a part of its path is a file", "Set LMCHAT_HOME to a folder."),
}
"""Reason and next step by the beginning of the name of an error; the first one that fits counts."""
_DAMAGED_SCHEMA = (
    "no such (table|column): |has no column named | already exists$|unsupported file format$"
)
"""Messages of SQLite about a damaged schema or version number: they have no name of their own.

For example `no such table: messages`.
"""


def explain(error: Exception, path: Path) -> StoreUnavailable:
    """Return the error to show for a failure of a file: its reason and the next step."""
    reason, hint = _reason_and_hint(error)
    details = f"{path}: {name_of(error) or error}"
    # for this error, a part of the path is a file; the last name alone would not show which part
    file = path if isinstance(error, NotADirectoryError) else path.name
    return StoreUnavailable(f"{file} cannot be used: {reason}.", hint=hint, details=details)


def closed() -> StoreUnavailable:
    """Return the error for a call after the store was closed."""
    return StoreUnavailable("The sessions are closed because lmchat is quitting.")


def name_of(error: BaseException) -> str:
    """Return SQLite's name of an error, such as `SQLITE_BUSY`; empty for an error without one."""
    return str(getattr(error, "sqlite_errorname", None) or "")


def is_damage(error: Exception) -> bool:
    """Return whether an error of SQLite means that the file itself is damaged.

    In a damaged file, SQLite's own message may be undecodable: then it is a `UnicodeDecodeError`.
    """
    if isinstance(error, UnicodeDecodeError) or re.search(_DAMAGED_SCHEMA, str(error)):
        return True
    return name_of(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _reason_and_hint(error: Exception) -> tuple[str, str]:
    """Return the reason for an error and the next step.

    They are `_DAMAGED` for damage, else those of `_REASONS` for the name of the error. An error
    with another name is explained by its own message.
    """
    if isinstance(error, OSError):
        name = errno.errorcode.get(error.errno or 0, "")
        default = (error.strerror or str(error), _PERMISSION)
    elif is_damage(error):
        return _DAMAGED
    else:
        name = name_of(error)
        default = (str(error), "Check the log file, then start lmchat again.")

    for beginning, reason_and_hint in _REASONS.items():
        if name.startswith(beginning):
            return reason_and_hint
    return default
