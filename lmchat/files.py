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

MAX_BYTES = 16 << 20  # more than any file that lmchat writes
OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOINHERIT", "O_BINARY"))
"""Flags of every opened file: no started program gets it, and Windows leaves its bytes alone."""
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flag for a file that may be a pipe."""
_LONGEST_PART = 50
"""Characters of a name in that of its temporary file; the usual limit is 255 bytes."""
_USUAL_MODE = 0o666  # before the user's umask
_OWNER_ONLY = 0o600
_FOLDER_MODE = 0o700
_OWN_VARIABLES = "LMCHAT_"  # beginning of their names
_NEEDED = frozenset(
    (
        *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
        *("APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS"),
        *("PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME"),
        *("USERPROFILE", "WINDIR", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
    )
)
"""Variables that every program may need, in capitals."""
_NEEDED_BEGINNINGS = (
    *("LC_", "XDG_", "LD_", "DYLD_", "PYTHON", "PROCESSOR_"),
    *("CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "GGML_", "VK_", "OMP_", "GOMP_"),
)
"""Beginnings of further ones: of the language, of Python and its libraries, of graphics cards."""
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
    """Return the media type of a PNG, JPEG, WebP or GIF image, or nothing for all else."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    for beginning, media_type in _IMAGE_TYPES.items():
        if data.startswith(beginning):
            return media_type
    return ""


def read_plain(path: Path, *, limit: int = MAX_BYTES, may_stream: bool = False) -> bytes:
    """Return a file's content without waiting for a writer or reading endlessly.

    `may_stream` allows pipes and devices: `--config <(pass lmchat)`. Raises `OSError`, also for a
    file over the limit.
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
        if is_regular and status.st_size > limit:
            raise system_error(errno.EFBIG, path)
        data = file.read(limit + 1)
    if len(data) > limit:
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
    fresh = target.with_name(f".{target.name[:_LONGEST_PART]}.{os.urandom(4).hex()}")
    _create(fresh, data, mode if old_mode is None else _OWNER_ONLY)
    try:
        if old_mode is not None:
            fresh.chmod(old_mode)
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _resolved(path: Path) -> Path:
    """Return the file that a link leads to; raises `OSError` for links in a circle."""
    try:
        return path.resolve()
    except RuntimeError as error:  # until Python 3.12
        raise system_error(errno.ELOOP, path) from error


def _mode_of(path: Path) -> int | None:
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
    """Write a new file, or replace one, which keeps its mode, if forced; raises `FileRefused`."""
    try:
        if is_forced and not path.is_dir():
            _refuse_device(path)
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


def _refuse_device(path: Path) -> None:
    """Refuse to replace a device: root would lose `/dev/null`."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file")


def _create(path: Path, data: str | bytes, mode: int) -> None:
    """Write a new file to the disk, whole or not at all."""
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
    """Return the name of the log of the run before."""
    return path.with_name(f"{path.name}.1")


# Programs and their environment


def is_absolute_path(program: str) -> bool:
    """Return whether a path is independent of the current folder."""
    return PurePath(program).is_absolute()


def find_program(name: str, path: str) -> str:
    """Return a program's path; only absolute folders of `PATH` count."""
    if is_absolute_path(name):
        return shutil.which(name) or ""
    for folder in path.split(os.pathsep):
        if is_absolute_path(folder):
            # a whole `PATH` would be searched after the current folder on Windows
            found = shutil.which(str(Path(folder) / name))
            if found:
                return found
    return ""


def with_absolute_program(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the command with an absolute program; raises `FileNotFoundError`."""
    program = find_program(argv[0], environ.get("PATH", os.defpath))
    if not program:
        raise system_error(errno.ENOENT, argv[0])
    return [program, *argv[1:]]


def environment_for_others(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without lmchat's variables, one of which may hold a key."""
    return {name: value for name, value in environ.items() if not name.startswith(_OWN_VARIABLES)}


def needed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a child that lmchat runs for itself needs: no variable that may hold a key."""

    def is_needed(name: str) -> bool:
        return name in _NEEDED or name.startswith(_NEEDED_BEGINNINGS)

    return {name: value for name, value in environ.items() if is_needed(name.upper())}
