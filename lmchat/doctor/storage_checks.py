"""The doctor's checks of folders, keys and `sessions.db`; they change nothing.

A row is a `CheckResult`: one line of the doctor's report, with a grade, a cause and a next step.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from lmchat.doctor.report import CheckResult, Grade, Group, Subject
from lmchat.errors import StoreUnavailable
from lmchat.files.disk import explain, is_damage, system_error
from lmchat.files.paths import Paths
from lmchat.storage.opening import DATABASE_ERRORS
from lmchat.storage.schema import version_of

# With less free room than this, the user is warned.
_LITTLE_ROOM_BYTES = 200 * 1024 * 1024
# With less, the warning becomes a problem.
_NO_ROOM_BYTES = 5 * 1024 * 1024
_MOST_FAULTS = 10  # after which SQLite stops checking a damaged file
_OTHERS = 0o077  # permissions of other users
_OTHERS_WRITE = 0o022  # those that let them write
_BUSY_S = 0.5  # wait for another program that is writing
_MB = 1e6
_GB = 1e9
_OR_ANOTHER_HOME = ", or set LMCHAT_HOME to another folder"

_FOLDER = Subject(Group.FILES, "files.folder", "Folder")
_CREDENTIALS = Subject(Group.FILES, "files.credentials", "Credentials")
_SESSIONS = Subject(Group.FILES, "store", "Sessions")
_INTEGRITY = Subject(Group.FILES, "store.whole", "Integrity")
_DISK = Subject(Group.FILES, "store.room", "Disk")


# Folders and stored keys


def mode_of(path: Path, *, system: str = os.name) -> int | None:
    """Return the permissions of a file; None where it does not exist or cannot be seen.

    On Windows, whose modes say nothing about other users, they are those of the owner alone.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        return mode & ~_OTHERS if system == "nt" else mode
    except OSError:
        return None


def files_findings(paths: Paths, mode: int | None) -> list[CheckResult]:
    """Return the rows about the folders, then the row about the file of the keys.

    There is a row for each folder with a problem; without problems, one about the folder of the
    settings. `mode` has the permissions of the file of the keys before lmchat read it: reading the
    keys removes the permissions of other users.
    """
    # With LMCHAT_HOME, all three are one folder, and so one key here: the last grade counts.
    fault_grades = {
        paths.cache_dir: Grade.WARNING,
        paths.state_dir: Grade.WARNING,
        paths.config_dir: Grade.FAULT,
    }
    folder_rows = [_check_folder(folder, grade) for folder, grade in fault_grades.items()]
    folder_rows.reverse()  # the most important one first
    faulty_rows = [row for row in folder_rows if row.grade is not Grade.OK]
    shown_rows = faulty_rows or folder_rows[:1]
    return [*shown_rows, _check_credentials(paths.credentials_file, mode)]


def _check_folder(folder: Path, fault_grade: Grade) -> CheckResult:
    """Return the row about a folder, which may not exist yet.

    Its grade is `fault_grade` if lmchat cannot use the folder, and a warning if other users may
    write into it.
    """
    if not folder.is_absolute():
        cause = f"No home folder is known: files would go to {folder}."
        return _FOLDER.graded(fault_grade, cause, "export LMCHAT_HOME=FOLDER")

    existing = _nearest_existing(folder)
    if not existing.is_dir():
        cause = f"{existing} is a file but should be a folder."
        return _FOLDER.graded(fault_grade, cause, "Set LMCHAT_HOME to a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        cause = f"{existing} cannot be written to."
        step = f"chmod u+rwx {_quoted(existing)}{_OR_ANOTHER_HOME}"
        return _FOLDER.graded(fault_grade, cause, step)

    mode = mode_of(folder) or 0
    if existing == folder and mode & _OTHERS_WRITE:
        cause = f"Other users may write into {folder} (mode {mode:o})."
        return _FOLDER.warning(cause, f"chmod 700 {_quoted(folder)}")
    return _FOLDER.ok(f"{folder} can be read and written.")


def _nearest_existing(folder: Path) -> Path:
    """Return the folder if it exists, else its nearest parent that exists.

    lmchat makes missing folders there.
    """
    for probed in (folder, *folder.parents):
        if probed.exists():
            return probed
    return folder


def _check_credentials(file: Path, mode: int | None) -> CheckResult:
    """Return the row about the file of the keys.

    `mode` has its permissions, None if there is no such file.
    """
    if mode is None:
        return _CREDENTIALS.ok("No API key is stored on the disk.")

    chmod_step = f"chmod 600 {_quoted(file)}"
    if mode & _OTHERS:
        cause = (
            f"Other users could read {file.name} (mode {mode:o}); they may have read its API keys."
        )
        step = f"{chmod_step}, then create new API keys"
        return _CREDENTIALS.warning(cause, step)
    if not os.access(file, os.R_OK):
        cause = f"{file.name} cannot be read."
        return _CREDENTIALS.graded(Grade.FAULT, cause, chmod_step)
    return _CREDENTIALS.ok(f"{file.name} can be read only by you (mode {mode:o}).")


# Sessions


def store_findings(path: Path) -> list[CheckResult]:
    """Return the rows about `sessions.db` and the room on its disk; blocks on the disk."""
    return [_check_sessions(path), _check_room(path)]


def integrity_findings(path: Path) -> list[CheckResult]:
    """Let SQLite check every page of the file, and return a list with the row about its integrity.

    The list is empty for an empty file, and for a file that cannot be used for another reason than
    damage, such as a missing file: the row of `store_findings` names that reason. Blocks as long as
    reading the file takes.
    """
    try:
        if not path.stat().st_size:
            return []
        with closing(_connect(path)) as connection:
            rows = connection.execute(f"pragma integrity_check({_MOST_FAULTS})")
            faults = [str(fault) for (fault,) in rows]
    except (*DATABASE_ERRORS, OSError) as error:
        return [_failure(path, error, _INTEGRITY)] if is_damage(error) else []

    if faults == ["ok"]:
        return [_INTEGRITY.ok("The file is undamaged.")]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if len(faults) == _MOST_FAULTS:
        more = f" (and at least {len(faults) - 1} more)"
    cause = f"The file is damaged: {faults[0]}{more}."
    return [_INTEGRITY.graded(Grade.FAULT, cause, _copy_step(path))]


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading; raises `OSError` or `sqlite3.Error`.

    Its permissions are checked without opening it: closing it again would release all locks that
    SQLite holds on it in this process, and another lmchat could then remove its write-ahead log.
    """
    can_use_effective_ids = os.access in os.supports_effective_ids
    if not os.access(path, os.R_OK, effective_ids=can_use_effective_ids):
        raise system_error(errno.EACCES, path)
    is_writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    # even to read, SQLite writes files beside it, unless the file is immutable
    mode = "mode=rw" if is_writable else "immutable=1"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)


def _check_sessions(path: Path) -> CheckResult:
    """Return the row about `sessions.db`.

    A missing file is no problem. A file that is damaged, locked or no database is a fault.
    """
    try:
        if not path.exists():
            return _SESSIONS.ok("No session is saved yet.")
        if not path.is_file():
            cause = f"{path} is not a regular file, so sessions cannot be saved."
            step = f"mv {_quoted(path)} ELSEWHERE"
            return _SESSIONS.graded(Grade.FAULT, cause, step)
        with closing(_connect(path)) as connection:
            return _check_database(path, connection)
    except StoreUnavailable as error:  # it is from another version of lmchat
        return _SESSIONS.graded(Grade.FAULT, error.message, error.hint)
    except (*DATABASE_ERRORS, OSError) as error:
        return _failure(path, error, _SESSIONS)


def _check_database(path: Path, connection: sqlite3.Connection) -> CheckResult:
    """Return the row about an opened `sessions.db`.

    It is a fault if the file or its folder cannot be written. Raises `sqlite3.Error` for a file
    that is damaged or locked, and `StoreUnavailable` for one in another format.
    """
    version = version_of(connection)
    journal = str(connection.execute("pragma journal_mode").fetchone()[0])
    size_bytes = path.stat().st_size
    for file_or_folder in (path, path.parent):
        if not os.access(file_or_folder, os.W_OK):
            cause = f"Sessions are not saved: {file_or_folder} is read-only for this user."
            step = f"chmod u+rw {_quoted(file_or_folder)}{_OR_ANOTHER_HOME}"
            return _SESSIONS.graded(Grade.FAULT, cause, step)

    connection.execute("begin immediate")  # fails where another program keeps it locked
    connection.execute("rollback")
    size = f"{size_bytes / _MB:.1f} MB"
    cause = f"Readable and writable: {size}, format {version}, journal {journal}."
    return _SESSIONS.ok(cause)


def _failure(path: Path, error: Exception, subject: Subject) -> CheckResult:
    """Return a row about a file that cannot be used, with the reason and next step.

    For a damaged file, the next step is to copy it before lmchat renames it.
    """
    explained = explain(error, path)
    step = _copy_step(path) if is_damage(error) else explained.hint
    return subject.graded(Grade.FAULT, explained.message, step)


def _copy_step(path: Path) -> str:
    """Return the next step for a damaged file."""
    copy = path.with_name(f"{path.name}.copy")
    return (
        f"cp {_quoted(path)} {_quoted(copy)}; the next start of lmchat renames the damaged "
        "file and keeps everything that can be read"
    )


def _check_room(path: Path) -> CheckResult:
    """Return the row about the free room on the disk of a file, which may not exist yet.

    It is a warning below `_LITTLE_ROOM_BYTES`, and a fault below `_NO_ROOM_BYTES`.
    """
    folder = _nearest_existing(path.absolute().parent)
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes >= 10 * _GB:
        cause = f"{free_bytes / _GB:.0f} GB are free."
    else:
        cause = f"{free_bytes / _MB:.0f} MB are free."
    if free_bytes >= _LITTLE_ROOM_BYTES:
        return _DISK.ok(cause)
    grade = Grade.FAULT if free_bytes < _NO_ROOM_BYTES else Grade.WARNING
    return _DISK.graded(grade, cause, f"Free some space on the disk of {folder}")


def _quoted(path: Path) -> str:
    """Return a path as a shell reads it."""
    return shlex.quote(str(path))
