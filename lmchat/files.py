"""Safe file access and program search; everything here blocks."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from lmchat.errors import FileExists, FileRefused

MAX_BYTES = 16 << 20  # more than any file that lmchat writes
_LONGEST_PART = 50  # characters of the name in its temporary file's name; the usual limit is 255 bytes
_USUAL_MODE = 0o666  # before the user's umask
_OWN = "LMCHAT_"
OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOINHERIT", "O_BINARY"))
"""Flags of every opened file: no program that is started gets it, and Windows leaves its bytes alone."""
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flag for a file that may be a pipe."""


def image_type(data: bytes) -> str:
    """Return the media type of a PNG, JPEG, WebP or GIF image by its first bytes; empty for all else."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    known = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}
    return next((f"image/{kind}" for start, kind in known.items() if data.startswith(start)), "")


def read_plain(path: Path, *, limit: int = MAX_BYTES, may_stream: bool = False) -> bytes:
    """Return a file's content without waiting for a writer or reading endlessly.

    `may_stream` allows pipes and devices: `--config <(pass lmchat)`. Raises `OSError`, also over the limit.
    """
    waiting = 0 if may_stream else NO_WAIT
    descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS | waiting)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not (stat.S_ISREG(mode) or may_stream):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if stat.S_ISREG(mode) and os.fstat(descriptor).st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def path_of(name: str) -> Path:
    """Return a named path with `~` expanded; raises `FileRefused` for an impossible name."""
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise FileRefused(f"{name} names an unknown home folder.", hint="Type the path.") from error
    if "\0" in name:
        raise FileRefused("A file name cannot contain a NUL character.", hint="Type another name.")
    return path


def write_atomically(path: Path, data: str | bytes, *, mode: int = 0o600, follows_link: bool = True) -> None:
    """Replace or create a file and its folder; readers never see half of it.

    Links are followed, to keep files stored elsewhere; without `follows_link` the link is replaced. Raises
    `OSError` and leaves the old file untouched.
    """
    ensure_folder(path.parent)
    target = path.resolve() if follows_link else path
    fresh = target.with_name(f".{target.name[:_LONGEST_PART]}.{os.urandom(4).hex()}")
    _create(fresh, data, mode)
    try:
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def ensure_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a missing folder and its parents; raises `OSError`."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def begin_log(path: Path) -> int:
    """Return the descriptor of a new log for appending; the previous log is kept. Raises `OSError`."""
    ensure_folder(path.parent)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | OPEN_FLAGS, 0o600)


def write_new_file(path: Path, text: str, *, is_forced: bool = False, mode: int = _USUAL_MODE) -> None:
    """Write a new file, or replace one if forced; raises `FileRefused`."""
    try:
        if is_forced and not path.is_dir():
            _refuse_device(path)
            write_atomically(path, text, mode=mode)
        else:
            ensure_folder(path.parent, mode=0o777)
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


def is_runnable(program: str) -> bool:
    """Return whether a path is independent of the current folder."""
    return PurePath(program).is_absolute()


def find_program(name: str, path: str) -> str:
    """Return a program's path; only absolute folders of `PATH` count."""
    places = os.pathsep.join(place for place in path.split(os.pathsep) if is_runnable(place))
    return shutil.which(name, path=places) or ""


def command_for(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the command with an absolute program; raises `FileNotFoundError`."""
    program = find_program(argv[0], environ.get("PATH", os.defpath))
    if not program:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    return [program, *argv[1:]]


def environment_for_others(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without lmchat's variables, one of which may hold a key."""
    return {name: value for name, value in environ.items() if not name.startswith(_OWN)}
