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
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from lmchat.domain.candidate import Finding, FindingRows, Grade, Group
from lmchat.paths import Paths
from lmchat.storage.credentials import LIMIT_S, SERVICE, Keyring, system_keyring
from lmchat.storage.database import BROKEN, explain, is_damage
from lmchat.storage.schema import VERSION
from lmchat.threads import within

LITTLE_ROOM_BYTES = 200 << 20
NO_ROOM_BYTES = 5 << 20
_row = FindingRows(Group.FILES)
_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_BUSY_S = 0.5
_MIB = 1 << 20
_ANOTHER_HOME = ", or set LMCHAT_HOME to another folder"
_KEY_FILE = "keys that are typed in go to credentials.toml"


def credentials_mode(paths: Paths) -> int | None:
    """Return the mode of `credentials.toml`, which reading it mends; None where it cannot be seen."""
    try:
        return stat.S_IMODE(paths.credentials_file.stat().st_mode)
    except OSError:
        return None


def files_findings(paths: Paths, mode: int | None) -> list[Finding]:
    """Return the rows about folders and stored keys, whose mode was as given before they were read."""
    folders = {paths.config_dir: ("configuration and sessions", Grade.FAULT)}
    folders.setdefault(paths.cache_dir, ("what can be fetched again", Grade.WARNING))  # or all are one
    folders.setdefault(paths.state_dir, ("the log", Grade.WARNING))
    rows = [_folder(folder, use, bad=bad) for folder, (use, bad) in folders.items()]
    told = [row for row in rows if row.grade is not Grade.OK]
    return [*(told or rows[:1]), _credentials(paths.credentials_file, mode)]


def _folder(folder: Path, use: str, *, bad: Grade) -> Finding:
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    mode = stat.S_IMODE(there.stat().st_mode) if there == folder and there.exists() else 0
    grade, step = bad, ""
    if not folder.is_absolute():
        grade = Grade.FAULT
        cause = f"No home folder is known, so that files would go to {folder}, below where you are."
        step = "export HOME=/home/YOU, or LMCHAT_HOME=FOLDER"
    elif not there.is_dir():
        cause = f"{there} is a file, where a folder for {use} should be."
        step = f"mv {_quoted(there)} ELSEWHERE"
    elif not os.access(there, os.W_OK | os.X_OK):
        cause = f"{there} cannot be written to: there is no place for {use}."
        step = f"chmod u+rwx {_quoted(there)}{_ANOTHER_HOME}"
    elif mode & _OTHERS_WRITE:
        grade, cause = Grade.WARNING, f"Other users may write into {folder} (mode {mode:o})."
        step = f"chmod 700 {_quoted(folder)}"
    else:
        made = "" if there == folder else "; it is made when it is needed"
        grade, cause = Grade.OK, f"{folder} can be read and written{made}."
    return _row("files.folder", "Folder", grade, cause, step, path=str(folder))


def _credentials(file: Path, mode: int | None) -> Finding:
    facts = {"path": str(file)} | ({} if mode is None else {"mode": f"{mode:o}"})
    grade, step = Grade.OK, ""
    if mode is None and not file.exists():
        cause = "No key is stored on the disk."
    elif mode is not None and mode & _OTHERS:
        grade = Grade.WARNING
        cause = f"Other users could read {file.name} (mode {mode:o}): its keys may be known to them."
        step = f"chmod 600 {_quoted(file)}, then make new keys; lmchat sets the mode when it reads it"
    elif not os.access(file, os.R_OK):
        grade, cause, step = Grade.FAULT, f"{file.name} cannot be read.", f"chmod 600 {_quoted(file)}"
    else:
        cause = f"{file.name} can be read by you alone (mode {mode or 0:o})."
    return _row("files.credentials", "Credentials", grade, cause, step, **facts)


def keyring_findings(
    find: Callable[[], Keyring | None] = system_keyring, *, limit_s: float = LIMIT_S
) -> list[Finding]:
    """Return the row about the keyring of the system; blocks for two seconds at most."""
    grade, state, step, name = Grade.OK, "works", "", ""
    try:
        name = within(limit_s, lambda: _answering(find()))
    except TimeoutError:
        grade, state, step = Grade.WARNING, "late", "Unlock it, and start lmchat again"
        cause = f"The system keyring does not answer within {limit_s:g} s; {_KEY_FILE}."
    except Exception as error:  # noqa: BLE001 - third-party
        grade, state, step = Grade.WARNING, "fails", "Unlock it, and start lmchat again"
        cause = f"The system keyring fails ({type(error).__name__}); {_KEY_FILE}."
    else:
        if name:
            cause = f"Keys that are typed in go to the system keyring ({name})."
        elif find is system_keyring and find_spec("keyring") is None:
            state, cause = "not_installed", f"Not installed (pip install 'lmchat[keyring]'); {_KEY_FILE}."
        else:
            state, cause = "none", f"This system has none that can be used; {_KEY_FILE}."
    return [FindingRows(Group.KEYS)("keyring", "Keyring", grade, cause, step, state=state)]


def _answering(backend: Keyring | None) -> str:
    if backend is None:
        return ""
    backend.get_password(SERVICE, "doctor")
    return str(getattr(backend, "name", "") or type(backend).__name__)


def store_findings(path: Path) -> list[Finding]:
    """Return the rows about `sessions.db` and the room on its disk; blocks on the disk."""
    rows = [_room(path), *_set_aside(path)]
    if not _is_there(path):
        return [_not_begun(path), *rows]
    try:
        with closing(_connect(path)) as connection:
            return [_file(path, connection), *rows]
    except (*BROKEN, OSError) as error:
        return [_failed(path, error), *rows]


def whole_findings(path: Path) -> list[Finding]:
    """Let SQLite read every page of the file, and return the row about it; blocks as long as that takes."""
    if not _is_there(path):
        return []
    try:
        with closing(_connect(path)) as connection:
            started_s = time.monotonic()
            faults = [str(row[0]) for row in connection.execute("pragma integrity_check(10)")]
    except (*BROKEN, OSError) as error:
        # the row about the file has said all but damage
        return [_failed(path, error, "store.whole", "Integrity")] if is_damage(error) else []
    facts: dict[str, object] = {"path": str(path)}
    if faults == ["ok"]:
        facts["elapsed_ms"] = round((time.monotonic() - started_s) * 1e3, 1)
        cause = "Every page was read, and all fit together."
        return [_row("store.whole", "Integrity", Grade.OK, cause, **facts)]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    cause = f"It is damaged: {faults[0]}{more}."
    return [_row("store.whole", "Integrity", Grade.FAULT, cause, _copy_step(path), **facts)]


def sqlite_command(path: Path) -> str:
    """Return the command that reads every page, for as long as it takes."""
    return f"sqlite3 {_quoted(path)} 'pragma integrity_check'"


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:
        return True  # opening it says what is wrong


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading; where it cannot be written, without WAL, which wants to write beside it.

    Only SQLite opens it: closing it once more would end all locks of this process, and another lmchat
    could then remove the log under this one.
    """
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    is_writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    try:
        return _opened(path, "mode=rw" if is_writable else "mode=ro")
    except sqlite3.OperationalError as error:
        if is_damage(error) or is_writable:
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
    folder = next((one for one in path.parents if one.exists()), path.parent)
    grade, cause, step = Grade.OK, "No session is saved yet; the file can be made.", ""
    if path.exists() and not path.is_file():
        grade, step = Grade.FAULT, f"mv {_quoted(path)} ELSEWHERE"
        cause = f"{path} is no ordinary file, as a pipe or a device: no session can be saved."
    elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        grade, step = Grade.FAULT, f"chmod u+rwx {_quoted(folder)}{_ANOTHER_HOME}"
        cause = f"{path} cannot be made: {folder} cannot be written to."
    return _row("store", "Sessions", grade, cause, step, path=str(path))


def _file(path: Path, connection: sqlite3.Connection) -> Finding:
    version = int(connection.execute("pragma user_version").fetchone()[0])
    mode = str(connection.execute("pragma journal_mode").fetchone()[0])
    size = path.stat().st_size
    facts: dict[str, object] = {"path": str(path)}
    grade, step = Grade.FAULT, ""
    if version > VERSION:
        cause = f"A newer lmchat wrote it (format {version}; this one knows {VERSION})."
        step = f"Install the newer lmchat{_ANOTHER_HOME}"
    elif any((in_the_way := one) for one in (path, path.parent) if not os.access(one, os.W_OK)):
        cause = f"It can be read, but not written: {in_the_way} is read-only for this user. "
        cause += "Chats are not saved."
        step = f"chmod u+rw {_quoted(path)}{_ANOTHER_HOME}"
    elif _is_locked(connection):
        cause = "It can be read, but not written: another program keeps it locked. Chats are not saved."
        step = "Close what else uses it, then look again"
    else:
        grade, count = Grade.OK, _count(connection)
        told = f"{count} session{'' if count == 1 else 's'}, " if count is not None else ""
        journal = "write-ahead log" if mode == "wal" else f"journal mode {mode}"
        cause = f"Readable and writable: {told}{_size(size)}, format {version}, {journal}."
        if version < VERSION:
            cause += f" The next start brings it to format {VERSION}."
        facts["sessions"] = count
    facts |= {"size_bytes": size, "version": version, "journal_mode": mode}
    return _row("store", "Sessions", grade, cause, step, **facts)


def _is_locked(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("begin immediate")
        connection.execute("rollback")
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
        return True
    return False


def _count(connection: sqlite3.Connection) -> int | None:
    with suppress(*BROKEN):
        return int(connection.execute("select count(*) from sessions").fetchone()[0])
    return None


def _failed(path: Path, error: Exception, check: str = "store", name: str = "Sessions") -> Finding:
    explained = explain(error, path)
    step = _copy_step(path) if is_damage(error) else explained.hint
    return _row(check, name, Grade.FAULT, explained.message, step, path=str(path))


def _copy_step(path: Path) -> str:
    aside = path.with_name(f"{path.name}.copy")
    return (
        f"cp {_quoted(path)} {_quoted(aside)}; the next start of lmchat sets the damaged "
        "file aside and saves what can be read"
    )


def _room(path: Path) -> Finding:
    folder = next((one for one in path.parents if one.exists()), path.parent)
    facts: dict[str, object] = {"path": str(folder)}
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        cause = f"The room on its disk is not known: {error.strerror or error}."
        return _row("store.room", "Disk", Grade.NOT_TRIED, cause, f"df -h {_quoted(folder)}", **facts)
    grade, step = Grade.OK, ""
    if free < LITTLE_ROOM_BYTES:
        grade = Grade.FAULT if free < NO_ROOM_BYTES else Grade.WARNING
        step = f"Make room on the disk of {folder}"
    return _row("store.room", "Disk", grade, f"{_size(free)} are free.", step, **facts, free_bytes=free)


def _set_aside(path: Path) -> list[Finding]:
    companions = ("-wal", "-shm", "-journal")
    with suppress(OSError):
        found = path.parent.glob(f"{path.name}.damaged-*")
        if old := sorted(one for one in found if not one.name.endswith(companions)):
            more = f" (and {len(old) - 1} more)" if old[1:] else ""
            cause = f"A damaged file was set aside earlier: {old[-1].name}{more}."
            step = f"Remove it when nothing in it is missed: rm {_quoted(old[-1])}"
            return [_row("store.aside", "Set aside", Grade.WARNING, cause, step, path=str(old[-1]))]
    return []


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _size(size: int) -> str:
    if size >= _MIB << 10:
        return f"{size / (_MIB << 10):.1f} GB"
    return f"{size / _MIB:.1f} MB" if size >= _MIB else f"{size >> 10} kB"
