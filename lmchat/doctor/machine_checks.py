"""The doctor's checks of the folder, `sessions.db` and locale; they change nothing."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import quote

from lmchat.doctor.report import CheckResult, Grade, Group
from lmchat.errors import StoreUnavailable
from lmchat.files.disk import explain
from lmchat.storage.opening import DATABASE_ERRORS
from lmchat.storage.schema import version_of

_BUSY_S = 0.5  # wait for another program that is writing


def folder_findings(folder: Path) -> list[CheckResult]:
    """Return the row about the folder of lmchat's files, which is made at the first start."""
    row = partial(CheckResult, Group.FILES, "files.folder", "Folder")
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return [row(Grade.OK, f"{folder} can be read and written.")]
    step = f"chmod u+rwx {shlex.quote(str(existing))}, or set LMCHAT_HOME to another folder"
    return [row(Grade.FAULT, f"{existing} is no writable folder.", step)]


def store_findings(path: Path) -> list[CheckResult]:
    """Return the row about `sessions.db`.

    SQLite checks every page of the file: this blocks as long as reading it takes.
    """
    row = partial(CheckResult, Group.FILES, "store", "Sessions")
    if not path.exists():
        return [row(Grade.OK, "No session is saved yet.")]
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    try:
        with closing(
            sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
        ) as connection:
            version = version_of(connection)
            connection.execute("begin immediate")  # fails where it is read-only or locked
            connection.execute("rollback")
            (fault,) = connection.execute("pragma integrity_check(1)").fetchone()
    except StoreUnavailable as error:  # it is from another version of lmchat
        return [row(Grade.FAULT, error.message, error.hint)]
    except (*DATABASE_ERRORS, OSError) as error:
        explained = explain(error, path)
        return [row(Grade.FAULT, explained.message, explained.hint)]
    if fault != "ok":
        step = f"Copy {path}; the next start of lmchat keeps everything that can be read"
        return [row(Grade.FAULT, f"The file is damaged: {fault}.", step)]
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return [row(Grade.OK, f"Undamaged and writable: {size}, format {version}.")]


def locale_findings(environ: Mapping[str, str]) -> list[CheckResult]:
    """Return the row about the characters that the terminal can show."""
    if os.name == "nt":  # its terminals have no variable for the locale
        return []
    row = partial(CheckResult, Group.TERMINAL, "terminal.locale", "Characters")
    values = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, values), "")  # the first that is set counts
    if "utf8" in locale.lower().replace("-", ""):
        return [row(Grade.OK, "Unicode.")]
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    cause = "The locale is not UTF-8: non-ASCII characters may look wrong."
    return [row(Grade.WARNING, cause, step)]
