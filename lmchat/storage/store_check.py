"""Looks at `sessions.db` as a doctor does: reads all of it, changes nothing that it holds, mends nothing."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.storage.faults import BROKEN, explain, is_damage
from lmchat.storage.schema import VERSION

_row = Rows(Group.FILES)
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
        return _row("store", "Sessions", Grade.FAULT, cause, step, path=str(path))
    folder = next((one for one in path.parents if one.exists()), path.parent)
    if os.access(folder, os.W_OK | os.X_OK) and folder.is_dir():
        return _row(
            "store", "Sessions", Grade.OK, "No session is saved yet; the file can be made.", path=str(path)
        )
    return _row(
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
        return _row("store", "Sessions", Grade.FAULT, cause, step, path=str(path), **facts)
    if reason := _not_writable(path, connection):
        step = f"chmod u+rw {shlex.quote(str(path))}, or set LMCHAT_HOME to another folder"
        if "locked" in reason:
            step = "Close what else uses it, then look again"
        cause = f"It can be read, but not written: {reason}. Chats are not saved."
        return _row("store", "Sessions", Grade.FAULT, cause, step, path=str(path), **facts)
    count = _count(connection)
    told = f"{count} session{'' if count == 1 else 's'}, " if count is not None else ""
    cause = f"Readable and writable: {told}{_size(size)}, format {version}, {_journal(mode)}."
    if version < VERSION:
        cause += f" The next start brings it to format {VERSION}."
    return _row("store", "Sessions", Grade.OK, cause, path=str(path), sessions=count, **facts)


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
        return _row(
            "store.whole",
            "Integrity",
            Grade.OK,
            "Every page was read, and all fit together.",
            path=str(path),
            elapsed_ms=round((time.monotonic() - started_s) * 1e3, 1),
        )
    cause = f"It is damaged: {faults[0]}" + (f" (and {len(faults) - 1} more)." if len(faults) > 1 else ".")
    return _row("store.whole", "Integrity", Grade.FAULT, cause, _copy_step(path), path=str(path))


def _failed(path: Path, error: Exception, check: str = "store", name: str = "Sessions") -> Finding:
    explained = explain(error, path)
    step = _copy_step(path) if is_damage(error) else explained.hint
    return _row(check, name, Grade.FAULT, explained.message, step, path=str(path))


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
        return _row(
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
    return _row(
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
    return [_row("store.aside", "Set aside", Grade.WARNING, cause, step, path=newest)]


def _is_companion(path: Path) -> bool:
    return path.name.endswith(("-wal", "-shm", "-journal"))


def _journal(mode: str) -> str:
    return "write-ahead log" if mode == "wal" else f"journal mode {mode}"


def _size(size: int) -> str:
    if size >= _MIB << 10:
        return f"{size / (_MIB << 10):.1f} GB"
    return f"{size / _MIB:.1f} MB" if size >= _MIB else f"{size >> 10} kB"
