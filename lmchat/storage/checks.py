"""Whether lmchat's folders and files can be read and written, and whether others can read the keys."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.paths import Paths
from lmchat.storage.database import BROKEN, explain, is_damage
from lmchat.storage.keyring import LIMIT_S, SERVICE, Keyring, KeyringLate, system_keyring, within
from lmchat.storage.schema import VERSION

_row = Rows(Group.FILES, "files.")
_OTHERS = 0o077
_OTHERS_WRITE = 0o022


class Modes(Struct, frozen=True, kw_only=True):
    """How files were set before lmchat read them: reading `credentials.toml` mends its mode."""

    credentials: int | None = None
    """Of `credentials.toml`; None where there is none, or it cannot be seen."""


def modes_of(paths: Paths) -> Modes:
    """Return how the files are set now."""
    try:
        return Modes(credentials=stat.S_IMODE(paths.credentials_file.stat().st_mode))
    except OSError:
        return Modes()


def files_findings(paths: Paths, before: Modes) -> list[Finding]:
    """Return the rows about folders and credentials; blocks on the disk."""
    folders = {
        paths.config_dir: "configuration and sessions",
        paths.cache_dir: "what can be fetched again",
        paths.state_dir: "the log",
    }
    rows = [_folder(folder, use, is_main=folder == paths.config_dir) for folder, use in folders.items()]
    told = [row for row in rows if row.grade is not Grade.OK]
    return [*(told or rows[:1]), _credentials(paths.credentials_file, before)]


def _folder(folder: Path, use: str, *, is_main: bool) -> Finding:
    bad = Grade.FAULT if is_main else Grade.WARNING
    quoted = shlex.quote(str(folder))
    if not folder.is_absolute():
        cause = f"No home folder is known, so that files would go to {folder}, below where you are."
        step = "export HOME=/home/YOU, or LMCHAT_HOME=FOLDER"
        return _row("folder", "Folder", Grade.FAULT, cause, step, path=str(folder))
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    if not there.is_dir():
        cause = f"{there} is a file, where a folder for {use} should be."
        step = f"mv {shlex.quote(str(there))} ELSEWHERE"
        return _row("folder", "Folder", bad, cause, step, path=str(folder))
    if not os.access(there, os.W_OK | os.X_OK):
        cause = f"{there} cannot be written to: there is no place for {use}."
        step = f"chmod u+rwx {shlex.quote(str(there))}, or set LMCHAT_HOME to another folder"
        return _row("folder", "Folder", bad, cause, step, path=str(folder))
    if there == folder and stat.S_IMODE(folder.stat().st_mode) & _OTHERS_WRITE:
        mode = stat.S_IMODE(folder.stat().st_mode)
        cause = f"Other users may write into {folder} (mode {mode:o})."
        return _row("folder", "Folder", Grade.WARNING, cause, f"chmod 700 {quoted}", path=str(folder))
    made = "" if there == folder else "; it is made when it is needed"
    cause = f"{folder} can be read and written{made}."
    return _row("folder", "Folder", Grade.OK, cause, path=str(folder))


def _credentials(file: Path, before: Modes) -> Finding:
    path = str(file)
    if before.credentials is None and not file.exists():
        return _row("credentials", "Credentials", Grade.OK, "No key is stored on the disk.", path=path)
    if before.credentials is not None and before.credentials & _OTHERS:
        mode = f"mode {before.credentials:o}"
        cause = f"Other users could read {file.name} ({mode}): its keys may be known to them."
        step = (
            f"chmod 600 {shlex.quote(str(file))}, then make new keys; lmchat sets the mode when it reads it"
        )
        facts = {"path": path, "mode": f"{before.credentials:o}"}
        return _row("credentials", "Credentials", Grade.WARNING, cause, step, **facts)
    if not os.access(file, os.R_OK):
        step = f"chmod 600 {shlex.quote(str(file))}"
        cause = f"{file.name} cannot be read."
        return _row("credentials", "Credentials", Grade.FAULT, cause, step, path=path)
    mode = f"{before.credentials or 0:o}"
    cause = f"{file.name} can be read by you alone (mode {mode})."
    return _row("credentials", "Credentials", Grade.OK, cause, path=path, mode=mode)


_FILE = "keys that are typed in go to credentials.toml"
_INSTALL = "pip install 'lmchat[keyring]'"


def keyring_findings(
    find: Callable[[], Keyring | None] = system_keyring, *, limit_s: float = LIMIT_S
) -> list[Finding]:
    """Return the row about the keyring; blocks for two seconds at most."""
    try:
        name = within(limit_s, lambda: _answering(find()))
    except KeyringLate:
        cause = f"The system keyring does not answer within {limit_s:g} s; {_FILE}."
        return [_keyring_row("late", Grade.WARNING, cause, "Unlock it, and start lmchat again")]
    except Exception as error:  # noqa: BLE001 - third-party
        cause = f"The system keyring fails ({type(error).__name__}); {_FILE}."
        return [_keyring_row("fails", Grade.WARNING, cause, "Unlock it, and start lmchat again")]
    if name:
        return [_keyring_row("works", Grade.OK, f"Keys that are typed in go to the system keyring ({name}).")]
    if find is system_keyring and find_spec("keyring") is None:
        return [_keyring_row("not_installed", Grade.OK, f"Not installed ({_INSTALL}); {_FILE}.")]
    return [_keyring_row("none", Grade.OK, f"This system has none that can be used; {_FILE}.")]


def _answering(backend: Keyring | None) -> str:
    """Return the name of a keyring that answers; empty where there is none."""
    if backend is None:
        return ""
    backend.get_password(SERVICE, "doctor")
    return str(getattr(backend, "name", "") or type(backend).__name__)


def _keyring_row(state: str, grade: Grade, cause: str, step: str = "") -> Finding:
    return Rows(Group.KEYS)("keyring", "Keyring", grade, cause, step, state=state)


_store_row = Rows(Group.FILES)
LITTLE_ROOM_BYTES = 200 << 20
NO_ROOM_BYTES = 5 << 20
_BUSY_S = 0.5
_MIB = 1 << 20


def store_findings(path: Path) -> list[Finding]:
    """Return the rows about the file and the room on its disk; blocks on the disk."""
    rows = [_room(path)]
    if not _is_there(path):
        return [_not_begun(path), *rows]
    try:
        with closing(_connect(path)) as connection:
            rows = [_file(path, connection), *rows]
    except (*BROKEN, OSError) as error:
        rows = [_failed(path, error), *rows]
    return [*rows, *_set_aside(path)]


def whole_findings(path: Path) -> list[Finding]:
    """Let SQLite read every page of the file, and return the row about it; blocks as long as that takes."""
    if not _is_there(path):
        return []
    try:
        with closing(_connect(path)) as connection:
            return [_whole(path, connection)]
    except (*BROKEN, OSError) as error:
        if not is_damage(error):
            return []  # the row about the file has said it
        return [_failed(path, error, "store.whole", "Integrity")]


def sqlite_command(path: Path) -> str:
    """Return the command that reads every page, for as long as it takes."""
    return f"sqlite3 {shlex.quote(str(path))} 'pragma integrity_check'"


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:
        return True  # opening it says what is wrong


def _connect(path: Path) -> sqlite3.Connection:
    """Open it for reading, in the way that needs least: WAL wants to write beside the file.

    It is left to SQLite to open it: closing it once more would end all locks that this process has on it, and
    another lmchat that ends then would remove the log under this one.
    """
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    how = "mode=rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "mode=ro"
    try:
        return _opened(path, how)
    except sqlite3.OperationalError as error:
        if is_damage(error) or how == "mode=rw":
            raise
        return _opened(path, "immutable=1")


def _opened(path: Path, how: str) -> sqlite3.Connection:
    place = f"file:{quote(str(path.absolute()))}?{how}"
    connection = sqlite3.connect(place, uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        connection.execute("select count(*) from sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _not_begun(path: Path) -> Finding:
    if path.exists() and not path.is_file():
        step = f"mv {shlex.quote(str(path))} ELSEWHERE"
        cause = f"{path} is no ordinary file, as a pipe or a device: no session can be saved."
        return _store_row("store", "Sessions", Grade.FAULT, cause, step, path=str(path))
    folder = next((one for one in path.parents if one.exists()), path.parent)
    if os.access(folder, os.W_OK | os.X_OK) and folder.is_dir():
        return _store_row(
            "store", "Sessions", Grade.OK, "No session is saved yet; the file can be made.", path=str(path)
        )
    return _store_row(
        "store",
        "Sessions",
        Grade.FAULT,
        f"{path} cannot be made: {folder} cannot be written to.",
        f"chmod u+rwx {shlex.quote(str(folder))}, or set LMCHAT_HOME to another folder",
        path=str(path),
    )


def _file(path: Path, connection: sqlite3.Connection) -> Finding:
    version = int(connection.execute("pragma user_version").fetchone()[0])
    mode = str(connection.execute("pragma journal_mode").fetchone()[0])
    size = path.stat().st_size
    facts: dict[str, Any] = {"size_bytes": size, "version": version, "journal_mode": mode}
    if version > VERSION:
        cause = f"A newer lmchat wrote it (format {version}; this one knows {VERSION})."
        step = "Install the newer lmchat, or set LMCHAT_HOME to another folder"
        return _store_row("store", "Sessions", Grade.FAULT, cause, step, path=str(path), **facts)
    if reason := _not_writable(path, connection):
        step = f"chmod u+rw {shlex.quote(str(path))}, or set LMCHAT_HOME to another folder"
        if "locked" in reason:
            step = "Close what else uses it, then look again"
        cause = f"It can be read, but not written: {reason}. Chats are not saved."
        return _store_row("store", "Sessions", Grade.FAULT, cause, step, path=str(path), **facts)
    count = _count(connection)
    told = f"{count} session{'' if count == 1 else 's'}, " if count is not None else ""
    cause = f"Readable and writable: {told}{_size(size)}, format {version}, {_journal(mode)}."
    if version < VERSION:
        cause += f" The next start brings it to format {VERSION}."
    return _store_row("store", "Sessions", Grade.OK, cause, path=str(path), sessions=count, **facts)


def _not_writable(path: Path, connection: sqlite3.Connection) -> str:
    """Take the lock that a write takes, and give it back; return what is in the way."""
    for one in (path, path.parent):
        if not os.access(one, os.W_OK):
            return f"{one} is read-only for this user"
    try:
        connection.execute("begin immediate")
        connection.execute("rollback")
    except sqlite3.OperationalError as error:
        name = error.sqlite_errorname
        return "another program keeps it locked" if name.startswith("SQLITE_BUSY") else str(error)
    return ""


def _count(connection: sqlite3.Connection) -> int | None:
    with suppress(*BROKEN):
        return int(connection.execute("select count(*) from sessions").fetchone()[0])
    return None


def _whole(path: Path, connection: sqlite3.Connection) -> Finding:
    started_s = time.monotonic()
    faults = [str(row[0]) for row in connection.execute("pragma integrity_check(10)")]
    if faults == ["ok"]:
        return _store_row(
            "store.whole",
            "Integrity",
            Grade.OK,
            "Every page was read, and all fit together.",
            path=str(path),
            elapsed_ms=round((time.monotonic() - started_s) * 1e3, 1),
        )
    cause = f"It is damaged: {faults[0]}" + (f" (and {len(faults) - 1} more)." if len(faults) > 1 else ".")
    return _store_row("store.whole", "Integrity", Grade.FAULT, cause, _copy_step(path), path=str(path))


def _failed(path: Path, error: Exception, check: str = "store", name: str = "Sessions") -> Finding:
    explained = explain(error, path)
    step = _copy_step(path) if is_damage(error) else explained.hint
    return _store_row(check, name, Grade.FAULT, explained.message, step, path=str(path))


def _copy_step(path: Path) -> str:
    aside = path.with_name(f"{path.name}.copy")
    return (
        f"cp {shlex.quote(str(path))} {shlex.quote(str(aside))}; the next start of lmchat sets the damaged "
        "file aside and saves what can be read"
    )


def _room(path: Path) -> Finding:
    folder = next((one for one in path.parents if one.exists()), path.parent)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        cause = f"The room on its disk is not known: {error.strerror or error}."
        return _store_row(
            "store.room",
            "Disk",
            Grade.NOT_TRIED,
            cause,
            f"df -h {shlex.quote(str(folder))}",
            path=str(folder),
        )
    grade, step = Grade.OK, ""
    if free < LITTLE_ROOM_BYTES:
        grade = Grade.FAULT if free < NO_ROOM_BYTES else Grade.WARNING
        step = f"Make room on the disk of {folder}"
    return _store_row(
        "store.room", "Disk", grade, f"{_size(free)} are free.", step, path=str(folder), free_bytes=free
    )


def _set_aside(path: Path) -> list[Finding]:
    try:
        old = sorted(one.name for one in path.parent.glob(f"{path.name}.damaged-*") if not _is_companion(one))
    except OSError:
        return []
    if not old:
        return []
    cause = f"A damaged file was set aside earlier: {old[-1]}" + (
        f" (and {len(old) - 1} more)." if old[1:] else "."
    )
    newest = str(path.with_name(old[-1]))
    step = f"Remove it when nothing in it is missed: rm {shlex.quote(newest)}"
    return [_store_row("store.aside", "Set aside", Grade.WARNING, cause, step, path=newest)]


def _is_companion(path: Path) -> bool:
    return path.name.endswith(("-wal", "-shm", "-journal"))


def _journal(mode: str) -> str:
    return "write-ahead log" if mode == "wal" else f"journal mode {mode}"


def _size(size: int) -> str:
    if size >= _MIB << 10:
        return f"{size / (_MIB << 10):.1f} GB"
    return f"{size / _MIB:.1f} MB" if size >= _MIB else f"{size >> 10} kB"
