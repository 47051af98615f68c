"""Writing a file whole or not at all; all of it blocks, so callers on an event loop use a thread."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from lmchat.errors import FileExists, FileRefused

_LONGEST_PART = 50
"""Characters of its name that the file beside it gets: with more of four bytes each it would be no name."""
_USUAL_MODE = 0o666
"""The system takes away what the user's umask says."""


def write_whole(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file, or make it and its folder; nobody ever sees half of it.

    A link is followed, so that a file that people keep elsewhere stays there.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    ensure_folder(path.parent)
    target = path.resolve()
    fresh = _write_beside(target, text, mode)
    try:
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def ensure_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder that is missing, with those above it.

    Raises:
        OSError: it cannot be made, or something else has its name.
    """
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def write_new_file(path: Path, text: str, *, is_forced: bool = False, mode: int = _USUAL_MODE) -> None:
    """Write a file that must not be there yet, or replace it where that is wanted.

    Raises:
        FileRefused: something has this name already, or the file cannot be written.
    """
    try:
        if is_forced and not path.is_dir():
            _refuse_device(path)
            write_whole(path, text, mode=mode)
        else:
            _write_if_new(path, text, mode)
    except FileExistsError:
        raise FileExists(
            f"{path} exists already.", hint="Choose another name, or overwrite it with --force."
        ) from None
    except OSError as error:
        raise FileRefused(
            f"{path} cannot be written: {error.strerror or error}.", hint="Choose another folder."
        ) from error


def _refuse_device(path: Path) -> None:
    """Refuse to put a file in the place of what is none: root would lose `/dev/null`."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no ordinary file")


def _write_if_new(path: Path, text: str, mode: int) -> None:
    if os.path.lexists(path):
        raise FileExistsError
    ensure_folder(path.parent, mode=0o777)
    fresh = _write_beside(path, text, mode)
    try:
        os.link(fresh, path)  # unlike a rename it fails where the name is taken meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with path.open("x", encoding="utf-8"):
            pass
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _write_beside(path: Path, text: str, mode: int) -> Path:
    """Write a new file in the same folder and wait until the disk has it."""
    fresh = path.with_name(f".{path.name[:_LONGEST_PART]}.{os.urandom(4).hex()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    return fresh
