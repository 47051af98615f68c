"""Other programs: which one is meant by a name, and what they are told of the environment."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import PurePath

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
