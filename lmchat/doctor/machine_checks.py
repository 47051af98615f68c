"""The doctor's checks of folders, stored keys, `sessions.db` and terminal; they change nothing."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import quote

from lmchat.doctor.report import CheckResult, Grade, Group
from lmchat.errors import StoreUnavailable
from lmchat.files.disk import explain
from lmchat.files.paths import Paths
from lmchat.storage.opening import DATABASE_ERRORS
from lmchat.storage.schema import version_of

_LITTLE_ROOM_BYTES = 200 * 1024 * 1024  # with less, the user is warned
_NO_ROOM_BYTES = 5 * 1024 * 1024  # with less, it is a problem
_OTHERS = 0o077  # permissions of other users
_BUSY_S = 0.5  # wait for another program that is writing
_MIN_COLUMNS, _MIN_LINES = 40, 12  # that the screen needs


def mode_of(path: Path) -> int | None:
    """Return the permissions of a file; None where it does not exist or cannot be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def files_findings(paths: Paths, mode: int | None) -> list[CheckResult]:
    """Return the rows about the folders and the file of the keys.

    There is a row for each folder that cannot be used, or one about that of the configuration.
    `mode` has the permissions of the file of the keys before lmchat read it: reading the keys
    removes the permissions of other users.
    """
    folder_row = partial(CheckResult, Group.FILES, "files.folder", "Folder")
    rows: list[CheckResult] = []
    for folder in dict.fromkeys((paths.config_dir, paths.state_dir, paths.cache_dir)):
        existing = _nearest_existing(folder)
        if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
            step = f"chmod u+rwx {_quoted(existing)}, or set LMCHAT_HOME to another folder"
            rows.append(folder_row(Grade.FAULT, f"{existing} is no writable folder.", step))
    if not rows:
        rows.append(folder_row(Grade.OK, f"{paths.config_dir} can be read and written."))

    file = paths.credentials_file
    key_row = partial(CheckResult, Group.FILES, "files.credentials", "Credentials")
    if mode is None:
        rows.append(key_row(Grade.OK, "No API key is stored on the disk."))
    elif mode & _OTHERS and os.name != "nt":  # modes on Windows say nothing about others
        cause = f"Other users could read {file.name} (mode {mode:o}); they may have its API keys."
        step = f"chmod 600 {_quoted(file)}, then create new API keys"
        rows.append(key_row(Grade.WARNING, cause, step))
    else:
        rows.append(key_row(Grade.OK, f"{file.name} can be read only by you."))
    return rows


def _nearest_existing(folder: Path) -> Path:
    """Return the folder or its nearest parent that exists, in which lmchat makes missing ones."""
    return next((place for place in (folder, *folder.parents) if place.exists()), folder)


def store_findings(path: Path) -> list[CheckResult]:
    """Return the rows about `sessions.db`, its integrity and the room on its disk.

    SQLite checks every page of the file: this blocks as long as reading it takes.
    """
    sessions_row = partial(CheckResult, Group.FILES, "store", "Sessions")
    folder = _nearest_existing(path.absolute().parent)
    free_bytes = shutil.disk_usage(folder).free
    grade = Grade.OK if free_bytes >= _LITTLE_ROOM_BYTES else Grade.WARNING
    room = CheckResult(
        Group.FILES,
        "store.room",
        "Disk",
        Grade.FAULT if free_bytes < _NO_ROOM_BYTES else grade,
        f"{free_bytes / 1e9:.1f} GB are free.",
        f"Free some space on the disk of {folder}",
    )
    if not path.exists():
        return [sessions_row(Grade.OK, "No session is saved yet."), room]
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
        return [sessions_row(Grade.FAULT, error.message, error.hint), room]
    except (*DATABASE_ERRORS, OSError) as error:
        explained = explain(error, path)
        return [sessions_row(Grade.FAULT, explained.message, explained.hint), room]

    size = f"{path.stat().st_size / 1e6:.1f} MB"
    whole_row = partial(CheckResult, Group.FILES, "store.whole", "Integrity")
    whole = whole_row(Grade.OK, "The file is undamaged.")
    if fault != "ok":
        step = (
            f"cp {_quoted(path)} {_quoted(path.with_name(f'{path.name}.copy'))}; the next start of "
            "lmchat renames the damaged file and keeps everything that can be read"
        )
        whole = whole_row(Grade.FAULT, f"The file is damaged: {fault}.", step)
    cause = f"Readable and writable: {size}, format {version}."
    return [sessions_row(Grade.OK, cause), whole, room]


def terminal_findings(
    environ: Mapping[str, str], files: Sequence[int] = (0, 2)
) -> list[CheckResult]:
    """Return the rows about size, colours and locale of the terminal.

    `files` are the descriptors of stdin, and of stderr, on which the screen is drawn.
    """
    size_row = partial(CheckResult, Group.TERMINAL, "terminal.size", "Size")
    if all(os.isatty(file) for file in files):
        columns, lines = os.get_terminal_size(files[-1])
        size = size_row(Grade.OK, f"{columns} × {lines}.")
        if columns < _MIN_COLUMNS or lines < _MIN_LINES:
            cause = f"{columns} × {lines}: below {_MIN_COLUMNS} × {_MIN_LINES} not everything fits."
            size = size_row(Grade.WARNING, cause, "Make the window larger, or its font smaller")
    else:
        cause = "stdin or stderr is not a terminal; the chat screen needs both."
        step = "Run it in a terminal; for one answer without a screen: lmchat ask 'PROMPT'"
        size = size_row(Grade.NOT_TRIED, cause, step)
    if os.name == "nt":  # its terminals have no variables for colours and locale
        return [size]
    return [size, _colours_row(environ), _locale_row(environ)]


def _colours_row(environ: Mapping[str, str]) -> CheckResult:
    row = partial(CheckResult, Group.TERMINAL, "terminal.colours", "Colours")
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        step = "export TERM=xterm-256color, if the terminal draws colours"
        return row(Grade.WARNING, f"TERM is {term or 'not set'}: no colours.", step)
    if environ.get("COLORTERM") in ("truecolor", "24bit") or "direct" in term:
        return row(Grade.OK, "16 million colours.")
    if "256" in term:
        return row(Grade.OK, "256 colours.")
    return row(Grade.OK, "16 colours; /theme ansi suits it.")


def _locale_row(environ: Mapping[str, str]) -> CheckResult:
    """Return a warning if the first variable that is set does not name UTF-8."""
    row = partial(CheckResult, Group.TERMINAL, "terminal.locale", "Characters")
    values = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, values), "")
    if "utf8" in locale.lower().replace("-", ""):
        return row(Grade.OK, "Unicode.")
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    cause = "The locale is not UTF-8: non-ASCII characters may look wrong."
    return row(Grade.WARNING, cause, step)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
