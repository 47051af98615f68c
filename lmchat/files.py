"""Safe file access and program search; everything here blocks."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from lmchat.errors import FileExists, FileRefused, StoreUnavailable

# more than any file that lmchat writes
MAX_BYTES = 16 * 1024 * 1024
OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOINHERIT", "O_BINARY"))
"""Flags of every opened file, those that this system has; each is a bit of its own.

Programs that lmchat starts do not inherit the file, and Windows does not change its line ends.
"""
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flag for a file that may be a pipe: opening it does not wait for a writer."""
_MAX_NAME_CHARS = 50
"""Characters of a file's name in that of its temporary file; the usual limit is 255 bytes."""
_USUAL_MODE = 0o666  # before the user's umask
_OWNER_ONLY = 0o600
_FOLDER_MODE = 0o700
_OWN_PREFIX = "LMCHAT_"  # of lmchat's environment variables
_NEEDED_VARIABLES = frozenset(
    (
        *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
        *("APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS"),
        *("PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME"),
        *("USERPROFILE", "WINDIR", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
    )
)
"""Environment variables that every program may need, in capitals."""
_NEEDED_PREFIXES = (
    *("LC_", "XDG_", "LD_", "DYLD_", "PYTHON", "PROCESSOR_"),
    *("CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "GGML_", "VK_", "OMP_", "GOMP_"),
)
"""Beginnings of the names of more: for the language, Python and its libraries, graphics cards."""
_IMAGE_TYPES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
"""Media types of images by their first bytes."""


def system_error(code: int, path: Path | str) -> OSError:
    """Return the system's error for a code of `errno`, as `FileNotFoundError` for `ENOENT`."""
    return OSError(code, os.strerror(code), str(path))


# Reading


def image_type(data: bytes) -> str:
    """Return the media type of a PNG, JPEG, WebP or GIF image, or "" for all else."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    for beginning, media_type in _IMAGE_TYPES.items():
        if data.startswith(beginning):
            return media_type
    return ""


def read_plain(path: Path, *, max_bytes: int = MAX_BYTES, may_stream: bool = False) -> bytes:
    """Return a file's content without waiting for a writer or reading endlessly.

    `may_stream` allows pipes and devices: `--config <(pass lmchat)`. Raises `OSError`, also for a
    file larger than `max_bytes`.
    """
    flags = os.O_RDONLY | OPEN_FLAGS
    if not may_stream:
        flags |= NO_WAIT
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        is_regular = stat.S_ISREG(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            raise system_error(errno.EISDIR, path)
        if not is_regular and not may_stream:
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if is_regular and status.st_size > max_bytes:
            raise system_error(errno.EFBIG, path)
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:  # a pipe or device has no size; a file may have grown
        raise system_error(errno.EFBIG, path)
    return data


def expanded_path(name: str) -> Path:
    """Return a named path with `~` expanded; raises `FileRefused` for an impossible name."""
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise FileRefused(f"{name} names an unknown home folder.", hint="Type the path.") from error
    if "\0" in name:
        raise FileRefused("A file name cannot contain a NUL character.", hint="Type another name.")
    return path


# Writing


def write_atomically(
    path: Path,
    data: str | bytes,
    *,
    mode: int = 0o600,
    keeps_mode: bool = False,
    follows_link: bool = True,
) -> None:
    """Replace or create a file and its folder; readers never see half of it.

    Links are followed, to keep files stored elsewhere; without `follows_link` the link is replaced.
    With `keeps_mode`, `mode` is that of a new file only. Raises `OSError`, which leaves the old
    file untouched.
    """
    ensure_folder(path.parent)
    target = _resolved(path) if follows_link else path
    old_mode = _mode_of(target) if keeps_mode else None
    random_end = os.urandom(4).hex()
    temporary = target.with_name(f".{target.name[:_MAX_NAME_CHARS]}.{random_end}")

    _create(temporary, data, mode if old_mode is None else _OWNER_ONLY)
    try:
        if old_mode is not None:
            temporary.chmod(old_mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _resolved(path: Path) -> Path:
    """Return the file that a link leads to; raises `OSError` for links in a circle."""
    try:
        return path.resolve()
    except RuntimeError as error:  # for a circle, until Python 3.12
        raise system_error(errno.ELOOP, path) from error


def _mode_of(path: Path) -> int | None:
    """Return the permission bits of a file; None where there is no file."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def ensure_folder(folder: Path) -> None:
    """Make a missing folder, and its missing parents, for this user alone; raises `OSError`.

    `Path.mkdir` would make the parents with the mode that the umask leaves.
    """
    try:
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        ensure_folder(folder.parent)
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    except FileExistsError as error:
        raise system_error(errno.ENOTDIR, folder) from error


def write_new_file(
    path: Path, text: str, *, is_forced: bool = False, mode: int = _USUAL_MODE
) -> None:
    """Write a new file; raises `FileRefused`, and `FileExists` where there is one already.

    If `is_forced`, an existing file is replaced and keeps its mode.
    """
    try:
        if is_forced and not path.is_dir():
            _refuse_to_replace_device(path)
            write_atomically(path, text, mode=mode, keeps_mode=True)
        else:
            ensure_folder(path.parent)
            _create(path, text, mode)
    except FileExistsError:
        raise FileExists(
            f"{path} already exists.", hint="Choose another name, or overwrite it with --force."
        ) from None
    except OSError as error:
        raise FileRefused(
            f"{path} cannot be written: {error.strerror or error}.", hint="Choose another folder."
        ) from error


def _refuse_to_replace_device(path: Path) -> None:
    """Raise `OSError` for a device or pipe: root would replace `/dev/null` by a file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file")


def _create(path: Path, data: str | bytes, mode: int) -> None:
    """Write a new file to the disk, whole or not at all; raises `OSError`, also if it exists."""
    content = data.encode(errors="replace") if isinstance(data, str) else data
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


# Logs


def begin_log(path: Path) -> int:
    """Return the descriptor of a new log for appending; the previous log is kept.

    Raises `OSError`.
    """
    ensure_folder(path.parent)
    if path.exists():
        path.replace(previous_log(path))
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | OPEN_FLAGS, 0o600)


def empty_log(path: Path) -> None:
    """Empty a log that a program may be writing, and remove the previous one.

    Raises `StoreUnavailable`.
    """
    try:
        with suppress(FileNotFoundError):
            os.truncate(path, 0)  # a program that has it open appends to it from its start
        previous_log(path).unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreUnavailable(
            f"{path} could not be emptied: {reason}.", hint="Delete it."
        ) from error


def previous_log(path: Path) -> Path:
    """Return the file that holds the log of the run before."""
    return path.with_name(f"{path.name}.1")


# Programs and their environment


def is_absolute_path(path: str) -> bool:
    """Return whether a path means the same file in every current folder."""
    return PurePath(path).is_absolute()


def find_program(name: str, search_path: str) -> str:
    """Return the absolute path of a program, or "" if it is not found.

    `search_path` is the value of `PATH`. Only its absolute folders are searched: another would
    depend on the current folder, where a stranger's program may be.
    """
    if is_absolute_path(name):
        return shutil.which(name) or ""
    for folder in search_path.split(os.pathsep):
        if is_absolute_path(folder):
            # folder by folder: with a whole `PATH`, Windows searches the current folder first
            program = shutil.which(str(Path(folder) / name))
            if program:
                return program
    return ""


def with_absolute_program(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return a command whose program, its first word, is replaced by its absolute path.

    Raises `FileNotFoundError`.
    """
    program = find_program(argv[0], environ.get("PATH", os.defpath))
    if not program:
        raise system_error(errno.ENOENT, argv[0])
    return [program, *argv[1:]]


def environment_for_others(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without lmchat's variables, one of which may hold an API key."""
    return {name: value for name, value in environ.items() if not name.startswith(_OWN_PREFIX)}


def needed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a child process of lmchat itself.

    Only known names are passed on: any other variable may hold a key.
    """
    return {name: value for name, value in environ.items() if _is_needed(name)}


def _is_needed(variable: str) -> bool:
    name = variable.upper()  # Windows does not distinguish capitals
    return name in _NEEDED_VARIABLES or name.startswith(_NEEDED_PREFIXES)
