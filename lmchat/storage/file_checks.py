"""The doctor's checks of folders, keys, the keyring and `sessions.db`; they change nothing."""

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
from lmchat.files import system_error
from lmchat.paths import Paths
from lmchat.storage.credentials import LIMIT_S
from lmchat.storage.database_copies import DATABASE_ERRORS
from lmchat.storage.file_errors import explain, is_damage
from lmchat.storage.schema import VERSION
from lmchat.storage.system_keyring import SERVICE, Keyring, system_keyring
from lmchat.threads import run_within

_LITTLE_ROOM_BYTES = 200 << 20  # from here on, the user is warned
_NO_ROOM_BYTES = 5 << 20
_OTHERS = 0o077  # permissions of other users
_OTHERS_WRITE = 0o022
_BUSY_S = 0.5  # wait for another program that is writing
_MB = 1e6
_GB = 1e9
_ANOTHER_HOME = ", or set LMCHAT_HOME to another folder"
_KEY_FILE = "typed API keys are saved in credentials.toml"

_folder_row = partial(Finding, Group.FILES, "files.folder", "Folder")
_credentials_row = partial(Finding, Group.FILES, "files.credentials", "Credentials")
_keyring_row = partial(Finding, Group.KEYS, "keyring", "Keyring")
_sessions_row = partial(Finding, Group.FILES, "store", "Sessions")
_integrity_row = partial(Finding, Group.FILES, "store.whole", "Integrity")
_disk_row = partial(Finding, Group.FILES, "store.room", "Disk")


# Folders and stored keys


def mode_of(path: Path) -> int | None:
    """Return the mode of a file; None where it cannot be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def files_findings(paths: Paths, mode: int | None) -> list[Finding]:
    """Return rows about folders and stored keys.

    `mode` is that of the file of the keys before it was read, which corrects it.
    """
    # with LMCHAT_HOME, one folder is all three: the last grade counts
    fault_grades = {
        paths.cache_dir: Grade.WARNING,
        paths.state_dir: Grade.WARNING,
        paths.config_dir: Grade.FAULT,
    }
    rows = [_folder(folder, grade) for folder, grade in reversed(fault_grades.items())]
    faulty = [row for row in rows if row.grade is not Grade.OK]
    return [*(faulty or rows[:1]), _credentials(paths.credentials_file, mode)]


def _folder(folder: Path, fault: Grade) -> Finding:
    """Return the row about a folder; `fault` is the grade if it cannot be used."""
    facts = {"path": str(folder)}
    if not folder.is_absolute():
        cause = f"No home folder is known: files would go to {folder}."
        return _folder_row(fault, cause, "export LMCHAT_HOME=FOLDER", facts)

    existing = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not existing.is_dir():
        cause = f"{existing} is a file but should be a folder."
        return _folder_row(fault, cause, "Set LMCHAT_HOME to a folder", facts)
    if not os.access(existing, os.W_OK | os.X_OK):
        step = f"chmod u+rwx {_quoted(existing)}{_ANOTHER_HOME}"
        return _folder_row(fault, f"{existing} cannot be written to.", step, facts)

    mode = mode_of(folder) or 0
    if existing == folder and mode & _OTHERS_WRITE:
        cause = f"Other users may write into {folder} (mode {mode:o})."
        return _folder_row(Grade.WARNING, cause, f"chmod 700 {_quoted(folder)}", facts)
    return _folder_row(Grade.OK, f"{folder} can be read and written.", "", facts)


def _credentials(file: Path, mode: int | None) -> Finding:
    if mode is None:
        cause = "No API key is stored on the disk."
        return _credentials_row(Grade.OK, cause, "", {"path": str(file)})

    facts = {"path": str(file), "mode": f"{mode:o}"}
    close_step = f"chmod 600 {_quoted(file)}"
    if mode & _OTHERS:
        cause = (
            f"Other users could read {file.name} (mode {mode:o}); they may have read its API keys."
        )
        step = f"{close_step}, then create new API keys"
        return _credentials_row(Grade.WARNING, cause, step, facts)
    if not os.access(file, os.R_OK):
        return _credentials_row(Grade.FAULT, f"{file.name} cannot be read.", close_step, facts)
    cause = f"{file.name} can be read only by you (mode {mode:o})."
    return _credentials_row(Grade.OK, cause, "", facts)


def keyring_findings(
    find: Callable[[], Keyring | None] = system_keyring, *, limit_s: float = LIMIT_S
) -> list[Finding]:
    """Return the row about the keyring of the system; blocks for two seconds at most."""
    try:
        name = run_within(limit_s, lambda: _name_if_it_answers(find()))
    except TimeoutError:
        state = "late"
        cause = f"The system keyring does not answer within {limit_s:g} s; {_KEY_FILE}."
    except Exception as error:  # noqa: BLE001 - third-party
        state = "fails"
        cause = f"The system keyring failed ({type(error).__name__}); {_KEY_FILE}."
    else:
        return [_working_keyring(name)]
    step = "Unlock it, and start lmchat again"
    return [_keyring_row(Grade.WARNING, cause, step, {"state": state})]


def _name_if_it_answers(backend: Keyring | None) -> str:
    """Ask a keyring for a key; return its name, or nothing without a keyring."""
    if backend is None:
        return ""
    backend.get_password(SERVICE, "doctor")
    return str(getattr(backend, "name", "") or type(backend).__name__)


def _working_keyring(name: str) -> Finding:
    if name:
        cause = f"Typed API keys are saved in the system keyring ({name})."
        return _keyring_row(Grade.OK, cause, "", {"state": "works"})
    cause = f"No keyring is available (pip install 'lmchat[keyring]' adds support); {_KEY_FILE}."
    return _keyring_row(Grade.OK, cause, "", {"state": "none"})


# Sessions


def store_findings(path: Path) -> list[Finding]:
    """Return the rows about `sessions.db` and the room on its disk; blocks on the disk."""
    return [_sessions(path), _room(path)]


def whole_findings(path: Path) -> list[Finding]:
    """Let SQLite read every page of the file, and return the row about it.

    Blocks as long as that takes.
    """
    started_s = time.monotonic()
    try:
        if not path.stat().st_size:
            return []
        with closing(_connect(path)) as connection:
            rows = connection.execute("pragma integrity_check(10)")
            faults = [str(fault) for (fault,) in rows]
    except (*DATABASE_ERRORS, OSError) as error:
        # the row about the file has said all but damage
        return [_failed(path, error, _integrity_row)] if is_damage(error) else []

    facts: dict[str, object] = {"path": str(path)}
    if faults == ["ok"]:
        facts["elapsed_ms"] = round((time.monotonic() - started_s) * 1e3, 1)
        return [_integrity_row(Grade.OK, "The file is undamaged.", "", facts)]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    cause = f"The file is damaged: {faults[0]}{more}."
    return [_integrity_row(Grade.FAULT, cause, _copy_step(path), facts)]


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading.

    Only SQLite opens it: closing it once more would end all locks of this process, and another
    lmchat could then remove the log under this one.
    """
    can_use_effective_ids = os.access in os.supports_effective_ids
    if not os.access(path, os.R_OK, effective_ids=can_use_effective_ids):
        raise system_error(errno.EACCES, path)
    is_writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    mode = "mode=rw" if is_writable else "immutable=1"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)


def _sessions(path: Path) -> Finding:
    facts = {"path": str(path)}
    try:
        if not path.exists():
            return _sessions_row(Grade.OK, "No session is saved yet.", "", facts)
        if not path.is_file():
            cause = f"{path} is not a regular file, so sessions cannot be saved."
            return _sessions_row(Grade.FAULT, cause, f"mv {_quoted(path)} ELSEWHERE", facts)
        with closing(_connect(path)) as connection:
            return _readable_sessions(path, connection)
    except (*DATABASE_ERRORS, OSError) as error:
        return _failed(path, error, _sessions_row)


def _readable_sessions(path: Path, connection: sqlite3.Connection) -> Finding:
    version = int(connection.execute("pragma user_version").fetchone()[0])
    journal = str(connection.execute("pragma journal_mode").fetchone()[0])
    size = path.stat().st_size
    facts = {"path": str(path), "size_bytes": size, "version": version, "journal_mode": journal}
    if version > VERSION:
        cause = (
            f"The sessions are from a newer lmchat (format {version}; this one knows {VERSION})."
        )
        return _sessions_row(Grade.FAULT, cause, f"Update lmchat{_ANOTHER_HOME}", facts)
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            cause = f"Sessions are not saved: {place} is read-only for this user."
            step = f"chmod u+rw {_quoted(place)}{_ANOTHER_HOME}"
            return _sessions_row(Grade.FAULT, cause, step, facts)

    connection.execute("begin immediate")  # fails where another program keeps it locked
    connection.execute("rollback")
    cause = f"Readable and writable: {size / _MB:.1f} MB, format {version}, journal {journal}."
    if version < VERSION:
        cause += (
            " The next start keeps a copy of it and copies its messages to new tables of "
            f"format {VERSION}."
        )
    else:
        facts["sessions"] = connection.execute("select count(*) from sessions").fetchone()[0]
    return _sessions_row(Grade.OK, cause, "", facts)


def _failed(path: Path, error: Exception, row: Callable[..., Finding]) -> Finding:
    explained = explain(error, path)
    step = _copy_step(path) if is_damage(error) else explained.hint
    return row(Grade.FAULT, explained.message, step, {"path": str(path)})


def _copy_step(path: Path) -> str:
    copy = path.with_name(f"{path.name}.copy")
    return (
        f"cp {_quoted(path)} {_quoted(copy)}; the next start of lmchat renames the damaged "
        "file and keeps everything that can be read"
    )


def _room(path: Path) -> Finding:
    folder = next(place for place in path.absolute().parents if place.exists())
    free_bytes = shutil.disk_usage(folder).free
    facts = {"path": str(folder), "free_bytes": free_bytes}
    if free_bytes >= 10 * _GB:
        cause = f"{free_bytes / _GB:.0f} GB are free."
    else:
        cause = f"{free_bytes / _MB:.0f} MB are free."
    if free_bytes >= _LITTLE_ROOM_BYTES:
        return _disk_row(Grade.OK, cause, "", facts)
    grade = Grade.FAULT if free_bytes < _NO_ROOM_BYTES else Grade.WARNING
    return _disk_row(grade, cause, f"Free some space on the disk of {folder}", facts)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
