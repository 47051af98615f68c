"""The doctor's checks of files: folders, stored keys, the keyring, and `sessions.db`; they change nothing."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import quote

from lmchat.domain.finding import Finding, Grade, Group
from lmchat.paths import Paths
from lmchat.storage.credentials import LIMIT_S
from lmchat.storage.database_copies import DATABASE_ERRORS
from lmchat.storage.file_errors import explain, is_damage
from lmchat.storage.schema import VERSION
from lmchat.storage.system_keyring import SERVICE, Keyring, system_keyring
from lmchat.threads import within

LITTLE_ROOM_BYTES = 200 << 20
NO_ROOM_BYTES = 5 << 20
_row = partial(Finding, Group.FILES)
_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_BUSY_S = 0.5
_MB = 1e6
_ANOTHER_HOME = ", or set LMCHAT_HOME to another folder"
_KEY_FILE = "typed API keys are saved in credentials.toml"


def mode_of(path: Path) -> int | None:
    """Return the mode of a file; None where it cannot be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def files_findings(paths: Paths, mode: int | None) -> list[Finding]:
    """Return rows about folders and stored keys; `mode` is that of their file before reading it mended it."""
    folders = {
        paths.cache_dir: Grade.WARNING,
        paths.state_dir: Grade.WARNING,
        paths.config_dir: Grade.FAULT,
    }
    rows = [_folder(folder, bad) for folder, bad in reversed(folders.items())]
    faulty = [row for row in rows if row.grade is not Grade.OK]
    return [*(faulty or rows[:1]), _credentials(paths.credentials_file, mode)]


def _folder(folder: Path, bad: Grade) -> Finding:
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    grade, step = bad, ""
    if not folder.is_absolute():
        cause, step = (
            f"No home folder is known: files would go to {folder}.",
            "export LMCHAT_HOME=FOLDER",
        )
    elif not there.is_dir():
        cause, step = f"{there} is a file but should be a folder.", "Set LMCHAT_HOME to a folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        cause, step = (
            f"{there} cannot be written to.",
            f"chmod u+rwx {_quoted(there)}{_ANOTHER_HOME}",
        )
    elif there == folder and (mode_of(folder) or 0) & _OTHERS_WRITE:
        grade, cause = (
            Grade.WARNING,
            f"Other users may write into {folder} (mode {mode_of(folder):o}).",
        )
        step = f"chmod 700 {_quoted(folder)}"
    else:
        grade, cause = Grade.OK, f"{folder} can be read and written."
    return _row("files.folder", "Folder", grade, cause, step, {"path": str(folder)})


def _credentials(file: Path, mode: int | None) -> Finding:
    grade, step = Grade.OK, ""
    if mode is None:
        cause = "No API key is stored on the disk."
    elif mode & _OTHERS:
        grade = Grade.WARNING
        cause = (
            f"Other users could read {file.name} (mode {mode:o}); they may have read its API keys."
        )
        step = f"chmod 600 {_quoted(file)}, then create new API keys"
    elif not os.access(file, os.R_OK):
        grade, cause, step = (
            Grade.FAULT,
            f"{file.name} cannot be read.",
            f"chmod 600 {_quoted(file)}",
        )
    else:
        cause = f"{file.name} can be read only by you (mode {mode:o})."
    facts = {"path": str(file)} | ({} if mode is None else {"mode": f"{mode:o}"})
    return _row("files.credentials", "Credentials", grade, cause, step, facts)


def keyring_findings(
    find: Callable[[], Keyring | None] = system_keyring, *, limit_s: float = LIMIT_S
) -> list[Finding]:
    """Return the row about the keyring of the system; blocks for two seconds at most."""
    grade, step = Grade.WARNING, "Unlock it, and start lmchat again"
    try:
        name = within(limit_s, lambda: _answering(find()))
    except TimeoutError:
        state, cause = (
            "late",
            f"The system keyring does not answer within {limit_s:g} s; {_KEY_FILE}.",
        )
    except Exception as error:  # noqa: BLE001 - third-party
        state, cause = "fails", f"The system keyring failed ({type(error).__name__}); {_KEY_FILE}."
    else:
        grade, step, state = Grade.OK, "", "works" if name else "none"
        cause = f"Typed API keys are saved in the system keyring ({name})."
        if not name:
            cause = f"No keyring is available (pip install 'lmchat[keyring]' adds support); {_KEY_FILE}."
    return [Finding(Group.KEYS, "keyring", "Keyring", grade, cause, step, {"state": state})]


def _answering(backend: Keyring | None) -> str:
    if backend is None:
        return ""
    backend.get_password(SERVICE, "doctor")
    return str(getattr(backend, "name", "") or type(backend).__name__)


def store_findings(path: Path) -> list[Finding]:
    """Return the rows about `sessions.db` and the room on its disk; blocks on the disk."""
    return [_sessions(path), _room(path)]


def whole_findings(path: Path) -> list[Finding]:
    """Let SQLite read every page of the file, and return the row about it; blocks as long as that takes."""
    row, started_s = partial(_row, "store.whole", "Integrity"), time.monotonic()
    try:
        if not path.stat().st_size:
            return []
        with closing(_connect(path)) as connection:
            faults = [str(row[0]) for row in connection.execute("pragma integrity_check(10)")]
    except (*DATABASE_ERRORS, OSError) as error:
        # the row about the file has said all but damage
        return [_failed(path, error, row)] if is_damage(error) else []
    facts: dict[str, object] = {"path": str(path)}
    if faults == ["ok"]:
        facts["elapsed_ms"] = round((time.monotonic() - started_s) * 1e3, 1)
        return [row(Grade.OK, "The file is undamaged.", "", facts)]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return [row(Grade.FAULT, f"The file is damaged: {faults[0]}{more}.", _copy_step(path), facts)]


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading.

    Only SQLite opens it: closing it once more would end all locks of this process, and another lmchat
    could then remove the log under this one.
    """
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    is_writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    place = f"file:{quote(str(path.absolute()))}?{'mode=rw' if is_writable else 'immutable=1'}"
    return sqlite3.connect(place, uri=True, timeout=_BUSY_S, isolation_level=None)


def _sessions(path: Path) -> Finding:
    row, facts = partial(_row, "store", "Sessions"), {"path": str(path)}
    try:
        if not path.exists():
            return row(Grade.OK, "No session is saved yet.", "", facts)
        if not path.is_file():
            cause = f"{path} is not a regular file, so sessions cannot be saved."
            return row(Grade.FAULT, cause, f"mv {_quoted(path)} ELSEWHERE", facts)
        with closing(_connect(path)) as connection:
            return _readable(path, connection)
    except (*DATABASE_ERRORS, OSError) as error:
        return _failed(path, error, row)


def _readable(path: Path, connection: sqlite3.Connection) -> Finding:
    row = partial(_row, "store", "Sessions")
    version = int(connection.execute("pragma user_version").fetchone()[0])
    journal = str(connection.execute("pragma journal_mode").fetchone()[0])
    size = path.stat().st_size
    facts = {"path": str(path), "size_bytes": size, "version": version, "journal_mode": journal}
    if version > VERSION:
        cause = (
            f"The sessions are from a newer lmchat (format {version}; this one knows {VERSION})."
        )
        return row(Grade.FAULT, cause, f"Update lmchat{_ANOTHER_HOME}", facts)
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            cause = f"Sessions are not saved: {place} is read-only for this user."
            return row(Grade.FAULT, cause, f"chmod u+rw {_quoted(place)}{_ANOTHER_HOME}", facts)
    connection.execute("begin immediate")  # fails where another program keeps it locked
    connection.execute("rollback")
    cause = f"Readable and writable: {size / _MB:.1f} MB, format {version}, journal {journal}."
    if version < VERSION:
        cause += (
            f" The next start renames it and copies its messages to a new one of format {VERSION}."
        )
    else:
        facts["sessions"] = connection.execute("select count(*) from sessions").fetchone()[0]
    return row(Grade.OK, cause, "", facts)


def _failed(path: Path, error: Exception, row: Callable[..., Finding]) -> Finding:
    explained = explain(error, path)
    step = _copy_step(path) if is_damage(error) else explained.hint
    return row(Grade.FAULT, explained.message, step, {"path": str(path)})


def _copy_step(path: Path) -> str:
    aside = path.with_name(f"{path.name}.copy")
    return (
        f"cp {_quoted(path)} {_quoted(aside)}; the next start of lmchat renames the damaged "
        "file and keeps everything that can be read"
    )


def _room(path: Path) -> Finding:
    folder = next(one for one in path.absolute().parents if one.exists())
    free = shutil.disk_usage(folder).free
    grade, step = Grade.OK, ""
    if free < LITTLE_ROOM_BYTES:
        grade = Grade.FAULT if free < NO_ROOM_BYTES else Grade.WARNING
        step = f"Free some space on the disk of {folder}"
    facts = {"path": str(folder), "free_bytes": free}
    room = f"{free / 1e9:.0f} GB" if free >= 10e9 else f"{free / _MB:.0f} MB"  # noqa: PLR2004 - 10 GB
    return _row("store.room", "Disk", grade, f"{room} are free.", step, facts)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
