"""Errors of SQLite: which of them mean a damaged file, and the words for the user."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from lmchat.errors import StoreUnavailable
from lmchat.files.disk import FULL, NOT_WRITABLE, PERMISSION, explain_system_error
from lmchat.files.locks import has_locks

# in a damaged file, SQLite's own message may be undecodable
DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
_LOCKED = ("another program has locked it", "Close the other program, then try again.")
_NO_LOCKS = (
    "the disk has no file locks, as some network disks",
    "Set LMCHAT_HOME to a folder on this machine.",
)
_DAMAGED = ("it is damaged", "Start lmchat again: a daily copy then takes its place.")
# reason and next step by the beginning of SQLite's name of an error; the first that fits counts
_REASONS = {
    "SQLITE_FULL": FULL,
    "SQLITE_IOERR_WRITE": FULL,
    "SQLITE_PROTOCOL": _NO_LOCKS,  # its message is "locking protocol"
    "SQLITE_IOERR_LOCK": _NO_LOCKS,
    "SQLITE_IOERR_RDLOCK": _NO_LOCKS,
    "SQLITE_IOERR_CHECKRESERVEDLOCK": _NO_LOCKS,
    "SQLITE_IOERR_SHMLOCK": _NO_LOCKS,
    "SQLITE_IOERR_UNLOCK": _NO_LOCKS,
    "SQLITE_IOERR": (
        "the disk reports an error, or is full",
        "Free some disk space, or check the disk.",
    ),
    "SQLITE_CANTOPEN": ("it cannot be opened, or its folder is read-only", PERMISSION),
    "SQLITE_READONLY": NOT_WRITABLE,
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
}
# Messages of SQLite about a damaged schema or version number, which have no name of their own. For
# example `no such table: messages`. The last five are about the search index.
_DAMAGED_SCHEMA = (
    "no such (table|column): |has no column named | already exists$|unsupported file format$|"
    "^invalid fts5 file format|^unrecognized (column )?option: |^malformed [a-z]+=... directive|"
    "^SQL logic error$"
)


def explain(error: Exception, path: Path) -> StoreUnavailable:
    """`error` is one of `DATABASE_ERRORS`, or an `OSError`."""
    if isinstance(error, OSError):
        return explain_system_error(error, path)
    name = name_of(error)
    if is_damage(error):
        reason, hint = _DAMAGED
    else:
        fitting = [_REASONS[beginning] for beginning in _REASONS if name.startswith(beginning)]
        own_words = (str(error), "Check the log file, then start lmchat again.")
        reason, hint = fitting[0] if fitting else own_words
        if (reason, hint) == _LOCKED and not has_locks(path.parent):
            reason, hint = _NO_LOCKS
    return StoreUnavailable(
        f"{path.name} cannot be used: {reason}.", hint=hint, details=f"{path}: {name or error}"
    )


def name_of(error: BaseException) -> str:
    """SQLite's name, such as `SQLITE_BUSY`."""
    return str(getattr(error, "sqlite_errorname", None) or "")


def is_damage(error: Exception) -> bool:
    """Whether one of `DATABASE_ERRORS` means that the file itself is damaged."""
    if isinstance(error, UnicodeDecodeError) or re.search(_DAMAGED_SCHEMA, str(error)):
        return True
    # rows keep all constraints, unless an index leads to other rows
    return name_of(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CONSTRAINT"))
