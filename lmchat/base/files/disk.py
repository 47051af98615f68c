"""Bounded reads, atomic writes, logs of other programs, and words for their errors."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from time import monotonic, sleep
from typing import IO
from urllib.parse import unquote

from lmchat.base.errors import FileExists, FileRefused, StoreUnavailable, WrongUse
from lmchat.base.files.locks import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.base.safe_text import safe_line, safe_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# more than any file that lmchat writes
MAX_BYTES = 16 * 1024 * 1024
# 0 for a flag that this system lacks. Started programs do not inherit the file, and Windows does
# not change its line ends.
OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOINHERIT", "O_BINARY"))
# opens a pipe without waiting for its writer
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
# of a name, in that of its temporary file; file systems usually allow 255 bytes
_MAX_NAME_CHARS = 50
_USUAL_MODE = 0o666  # before the user's umask
OWNER_ONLY = 0o600  # no other user may read it
_FOLDER_MODE = 0o700
_FILE_ADDRESS = r"(?i)file:(//(localhost)?)?(?=/(?!/))"  # RFC 8089
_RETRY_S = 0.02
_LOCK_S = 2.0  # in which another process gives a lock back, unless it is stopped
_FREE_S = 1.0  # in which a virus scanner, an indexer or a reader closes a file


def system_error(code: int, path: Path | str) -> OSError:
    """Return the error for a number, such as `FileNotFoundError` for `ENOENT`."""
    return OSError(code, os.strerror(code), str(path))


def open_plain(path: Path, *, may_stream: bool = False) -> IO[bytes]:
    """Raises `OSError`, also for a folder, a pipe or a device.

    With `may_stream`, a pipe or device is opened too, as in `--config <(pass lmchat)`; that waits
    for the pipe's writer.
    """
    flags = OPEN_FLAGS
    if not may_stream:
        flags |= NO_WAIT  # a pipe is opened at once, and refused below
    try:
        # `open` refuses a folder, and closes it
        file = open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags))  # noqa: SIM115
    except PermissionError:
        if not CAN_RENAME_OPEN_FILES and path.is_dir():  # as Windows refuses one
            raise system_error(errno.EISDIR, path) from None
        raise
    except FileNotFoundError:
        status_of(path)
        raise
    if not may_stream and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return file


def read_plain(path: Path, *, max_bytes: int = MAX_BYTES, may_stream: bool = False) -> bytes:
    """Raises `OSError`, also if the file is too long."""
    with open_plain(path, may_stream=may_stream) as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_size > max_bytes:
            raise system_error(errno.EFBIG, path)
        data = file.read(max_bytes + 1)  # one more shows that there are too many
    if len(data) > max_bytes:  # a pipe or device has no size; a file may have grown
        raise system_error(errno.EFBIG, path)
    return data


def unreadable(name: Path | str, error: OSError, *, max_bytes: int = MAX_BYTES) -> FileRefused:
    """Say why a file cannot be read."""
    reasons = {
        errno.ENOENT: ("does not exist", "Check the path."),
        errno.EISDIR: ("is a folder", "Name a file in it."),
        errno.EINVAL: ("is not a regular file", "Save its content to a file first."),
        errno.ENXIO: ("is not a regular file", "Save its content to a file first."),
        errno.EACCES: (
            "cannot be read: you have no permission",
            "Change its permissions, or copy it.",
        ),
        errno.EFBIG: (f"is larger than {max_bytes // 1_000_000} MB", "Use a smaller file."),
    }
    other_reason = (f"cannot be read: {error.strerror or error}", "Check the path.")
    reason, next_step = reasons.get(error.errno or 0, other_reason)
    return FileRefused(f"{safe_line(str(name))} {reason}.", next_step=next_step)


def expanded_path(name: str) -> Path:
    """Return the path of a name, a `file:` address or one below `~`.

    Raises `FileRefused`, `WrongUse`.
    """
    if address := re.match(_FILE_ADDRESS, name):
        start = address.end() + (os.name == "nt")  # as of `file:///C:/beds`
        name = unquote(name[start:], errors="surrogateescape")
    # as in a shell, `~.txt` is a name unless somebody is called `.txt`
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - `Path.expanduser` raises then
    if os.name == "nt" and ":" in path.name:  # a hidden stream of a file, which no folder lists
        raise FileRefused(
            f"{name} has a colon, which names of files on Windows must not have.",
            next_step="Choose another name.",
        )
    if not path.is_absolute():
        current_folder()
    return path


def current_folder() -> Path:
    """Raises `WrongUse`."""
    try:
        return Path.cwd()
    except OSError as error:
        raise WrongUse(
            f"The current folder cannot be used: {error.strerror or error}.",
            next_step="Change to another folder, such as with `cd ~`.",
        ) from error


# What is there


def status_of(path: Path) -> os.stat_result | None:
    """Return None if nothing is there.

    Raises `OSError` if that cannot be seen, or if a link in the path leads nowhere.
    """
    try:
        return path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
    for place in (path, *path.parents):
        if os.path.islink(place) and not os.path.exists(place):  # noqa: PTH110, PTH114
            raise OSError(errno.ELOOP, f"{place} is a link that leads nowhere", str(path))
    return None


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Return what a folder has by names of a pattern, nothing if it is missing.

    Raises `OSError` as `status_of` does.
    """
    if status_of(folder) is None:
        return []
    return [path for path in folder.iterdir() if fnmatchcase(path.name, pattern)]


# Writing


def write_atomically(path: Path, data: str | bytes | Iterable[bytes]) -> None:
    """Replace or create a file; readers see its old or its new content, never half of it.

    The target of a link is replaced. A new file is for its owner only; a replaced one keeps its
    mode. Raises `OSError`, also for a device or a pipe; the old file is then untouched.
    """
    ensure_folder(path.parent)
    target = Path(os.path.realpath(path))  # `Path.resolve` fails at circular links
    if os.path.lexists(target) and not target.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    temporary = _temporary_name(target)
    _create(temporary, data, OWNER_ONLY)  # removes it if the writing fails
    try:
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        _when_free(lambda: temporary.replace(target))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path, *, is_shared: bool = False, wait_s: float = _LOCK_S) -> Iterator[None]:
    """Hold a file while it is read, changed and written.

    Raises `OSError`: `BlockingIOError` if another process keeps the lock for `wait_s`.

    The lock is on `.NAME.lock` beside it: one on the file would stay with the old file when
    `write_atomically` replaces it. On Windows, none is shared. Some network disks have no locks,
    and a folder that cannot be written to may lack `.NAME.lock`: there, the second of two processes
    wins.
    """
    ensure_folder(path.parent)
    with ExitStack() as stack:
        descriptor = None
        if fcntl is not None or not is_shared:
            descriptor = _open_lock(path.with_name(f".{path.name[:_MAX_NAME_CHARS]}.lock"))
        if descriptor is not None:
            stack.callback(os.close, descriptor)
            until_s = monotonic() + wait_s
            while not _try_to_lock(descriptor, is_shared=is_shared):
                if monotonic() > until_s:
                    raise system_error(errno.EAGAIN, path)
                sleep(_RETRY_S)
        yield


def _open_lock(file: Path) -> int | None:
    """Return None if it cannot be opened; on a read-only disk, an existing one can."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with suppress(OSError):
            return os.open(file, flags | OPEN_FLAGS, OWNER_ONLY)
    return None


def _try_to_lock(descriptor: int, *, is_shared: bool) -> bool:
    """Try to lock; return True also where there are no locks."""
    try:
        return try_lock(descriptor, is_shared=is_shared)
    except OSError:  # `ENOLCK`, `EOPNOTSUPP`, `ENOSYS`; `EBADF` on NFS
        return True


def _when_free(change: Callable[[], object]) -> None:
    """On Windows, other programs may have the file open."""
    until_s = monotonic() + _FREE_S
    while True:
        try:
            change()
        except PermissionError:
            if CAN_RENAME_OPEN_FILES or monotonic() > until_s:
                raise
            sleep(_RETRY_S)
        else:
            return


def sync(descriptor: int) -> None:
    """Wait until the file survives a power cut; raises `OSError`."""
    # macOS, whose `fsync` leaves data in the cache of the disk
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        with suppress(OSError):  # some network disks refuse it
            fcntl.fcntl(descriptor, full_sync)
            return
    os.fsync(descriptor)


def free_name(path: Path, ending: str) -> Path:
    free = path.with_name(f"{path.name}.{ending}")
    number = 1
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{ending}-{number}")
    return free


def free_bytes(places: Iterable[Path]) -> int | None:
    """Return what is free on the disk of the first that exists."""
    import shutil  # noqa: PLC0415 - 5 ms that the first paint does without

    for place in places:
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def ensure_folder(folder: Path) -> None:
    """Make a folder and its missing parents for this user alone; an existing one stays.

    `Path.mkdir` would leave the mode of the parents to the umask. Raises `OSError`, also if a file
    has the name.
    """
    missing: list[Path] = []
    place = folder
    try:
        while True:
            try:
                place.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                break
            except FileNotFoundError:  # its parent is missing
                if place.parent == place:  # the root of a missing drive
                    raise
                missing.append(place)
                place = place.parent
        for place in reversed(missing):
            place.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    except FileExistsError as error:
        raise system_error(errno.ENOTDIR, place) from error


def write_new_file(
    path: Path,
    text: str,
    *,
    is_forced: bool = False,
    may_stream: bool = False,
    makes_folder: bool = False,
    mode: int = _USUAL_MODE,
) -> Path:
    """Write a new file, which has its name once it is whole.

    `makes_folder` is for a folder that is not a part of a name of the user. A forced replacement
    keeps the mode. With `may_stream`, a pipe or a device such as `/dev/null` is written to;
    opening a pipe waits for its reader. Raises `FileExists`, `FileRefused`.
    """
    try:
        if may_stream and is_stream(path):
            with path.open("wb") as file:
                shown = safe_text(text) if file.isatty() else text
                file.write(shown.encode(errors="replace"))
        elif is_forced and path.is_file():
            write_atomically(path, text)
        else:
            if makes_folder:
                ensure_folder(path.parent)
            _create_at_once(path, text, mode)
    except FileExistsError:
        # root could replace `/dev/null`
        if is_forced or path.is_dir():
            raise FileRefused(
                f"{path} is not a regular file.", next_step="Choose another name."
            ) from None
        raise FileExists(
            f"{path} already exists.",
            next_step="Choose another name, or overwrite it with --force.",
        ) from None
    except OSError as error:
        raise FileRefused(
            f"{path} cannot be written: {error.strerror or error}.",
            next_step="Choose another folder.",
        ) from error
    return path


def is_stream(path: Path) -> bool:
    """Whether it is a pipe, a terminal or another device without a size."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name[:_MAX_NAME_CHARS]}.{os.urandom(4).hex()}")


def _create_at_once(path: Path, data: str | bytes, mode: int) -> None:
    """Raises `OSError`, also if the file exists."""
    temporary = _temporary_name(path)
    _create(temporary, data, mode)
    try:
        os.link(temporary, path)  # renaming would replace another file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        temporary.rename(path)
    finally:
        _when_free(lambda: temporary.unlink(missing_ok=True))


def _create(path: Path, data: str | bytes | Iterable[bytes], mode: int) -> None:
    """Raises `OSError`, also if the file exists; nothing is left of a failure."""
    # a lone surrogate becomes "?"
    content = data.encode(errors="replace") if isinstance(data, str) else data
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            sync(file.fileno())
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


# Logs


def start_log(path: Path) -> int:
    """Return a descriptor that appends; raises `OSError`."""
    ensure_folder(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | OPEN_FLAGS | NO_WAIT
    return os.open(path, flags, OWNER_ONLY)


def empty_log(path: Path) -> None:
    """Raises `OSError`."""
    with suppress(FileNotFoundError):
        # a program that appends continues at the new end
        os.truncate(path, 0)


# Errors of the system

PERMISSION = "Check the permissions there, or set LMCHAT_HOME to another folder."
NOT_WRITABLE = ("writing is not permitted", PERMISSION)
_NOT_FREE = ("writing is not permitted, or another program has it open", PERMISSION)
LOCKED = ("another program has locked it", "Close the other program, then try again.")
FULL = ("the disk is full", "Free some disk space.")
_REASONS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EACCES: NOT_WRITABLE if CAN_RENAME_OPEN_FILES else _NOT_FREE,
    errno.EPERM: NOT_WRITABLE,
    errno.EROFS: ("the disk is read-only", PERMISSION),
    errno.EAGAIN: LOCKED,  # see `locked`
    errno.ENOTDIR: ("a part of its path is a file", "Set LMCHAT_HOME to a folder."),
}


def refusal_to_write(place: Path) -> OSError | None:
    """Return the error of who would change a file or a folder that is there; None without one."""
    if not os.path.lexists(place) or os.access(place, os.W_OK):
        return None
    # Windows has no `statvfs`
    is_read_only = os.name != "nt" and os.statvfs(place).f_flag & os.ST_RDONLY
    return system_error(errno.EROFS if is_read_only else errno.EACCES, place)


def explain_system_error(error: OSError, path: Path) -> StoreUnavailable:
    """Say why something cannot be seen, read or written; `path` is for an error that names none."""
    reason, next_step = _REASONS.get(error.errno or 0, (error.strerror or str(error), PERMISSION))
    message = f"{path.name} cannot be used: {reason}."
    if isinstance(error, PermissionError | NotADirectoryError):
        message = (
            _problem_on_the_way(error, Path(os.path.realpath(error.filename or path))) or message
        )
    return StoreUnavailable(message, next_step=next_step, details=f"{path}: {error}")


def _problem_on_the_way(error: OSError, path: Path) -> str:
    """Name the first place that may not be entered, or read, or is no folder; "" without one."""
    for place in (*reversed(path.parents), path):
        try:
            status = place.stat()
        except OSError:  # it is missing
            break
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and isinstance(error, NotADirectoryError):
            return f"{place} is a file, not a folder."
        if is_folder and not os.access(place, os.X_OK):
            verb = "entered"
        elif place == path and not os.access(place, os.R_OK):
            verb = "read"
        else:
            continue
        try:
            owner = place.owner()
        except (KeyError, NotImplementedError):  # as in a container; on Windows
            owner = f"user {status.st_uid}"
        mode = stat.S_IMODE(status.st_mode)
        return f"{place} cannot be {verb}: it belongs to {owner}, with mode {mode:04o}."
    return ""
