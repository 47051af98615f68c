"""Reading a file that should be an ordinary one, whatever stands in its place."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from lmchat.errors import FileRefused

MAX_BYTES = 16 << 20
"""More than any file that lmchat writes or a person does."""


def read_plain(path: Path, *, limit: int = MAX_BYTES, may_stream: bool = False) -> bytes:
    """Return what a file holds; never waits for a writer, never reads without end.

    `may_stream` lets pipes and devices through, for a path that a person named: `--config <(pass lmchat)`.

    Raises:
        OSError: it cannot be read, is no ordinary file, or is larger than the limit.
    """
    waiting = 0 if may_stream else os.O_NONBLOCK
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | waiting)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not (stat.S_ISREG(mode) or may_stream):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        if stat.S_ISREG(mode) and os.fstat(descriptor).st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def path_of(name: str) -> Path:
    """Return the file that a person named; `~` is the home folder.

    Raises:
        FileRefused: no file can have this name.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise FileRefused(f"{name} names a home folder that is not known.", hint="Type the path.") from error
    if "\0" in name:
        raise FileRefused("A file name cannot hold a NUL.", hint="Type another name.")
    return path


_OWN = "LMCHAT_"


def is_runnable(program: str) -> bool:
    """Whether it is sure which program that is: a relative path depends on where lmchat stands."""
    return PurePath(program).is_absolute()


def find_program(name: str, path: str) -> str:
    """Return where a program is; only folders of `PATH` that are named in full count."""
    places = os.pathsep.join(place for place in path.split(os.pathsep) if is_runnable(place))
    return shutil.which(name, path=places) or ""


def command_for(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return a command line whose program is named in full, or as the user named it with a folder.

    Raises:
        FileNotFoundError: there is no such program.
    """
    program = find_program(argv[0], environ.get("PATH", os.defpath))
    if not program:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    return [program, *argv[1:]]


def environment_for_others(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables of lmchat, of which one may hold a key."""
    return {name: value for name, value in environ.items() if not name.startswith(_OWN)}
