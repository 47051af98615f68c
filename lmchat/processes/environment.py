"""Programs on PATH, and the environment that programs get."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from lmchat.files.disk import system_error

_OVER_SSH = ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")
_OWN_PREFIX = "LMCHAT_"  # of lmchat's environment variables
# Environment variables that every program may need, in capitals.
_NEEDED_VARIABLES = frozenset(
    (
        *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
        *("APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS"),
        *("PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME"),
        *("USERPROFILE", "WINDIR", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
    )
)
# Beginnings of further names: for the language, Python and its libraries, graphics cards.
_NEEDED_PREFIXES = (
    *("LC_", "XDG_", "LD_", "DYLD_", "PYTHON", "PROCESSOR_"),
    *("CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "GGML_", "VK_", "OMP_", "GOMP_"),
)


def find_program(name: str, search_path: str) -> str:
    """Return the absolute path of a program, or "" if it is not found.

    `search_path` is the value of `PATH`. Only its absolute folders are searched: a relative one
    depends on the current folder, where a stranger's program may be. An absolute `name` is returned
    if it can be executed.
    """
    if Path(name).is_absolute():
        return shutil.which(name) or ""
    for folder in search_path.split(os.pathsep):
        if Path(folder).is_absolute():
            # folder by folder: with a whole `PATH`, Windows searches the current folder first
            program = shutil.which(str(Path(folder) / name))
            if program:
                return program
    return ""


def is_over_ssh(environ: Mapping[str, str]) -> bool:
    """Return whether the user sits at another machine."""
    return any(environ.get(name) for name in _OVER_SSH)


def with_absolute_program(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return a command with the absolute path of its program, which is its first word.

    The program is looked for in `PATH`. Raises `FileNotFoundError` if it is not found.
    """
    program = find_program(argv[0], environ.get("PATH", os.defpath))
    if not program:
        raise system_error(errno.ENOENT, argv[0])
    return [program, *argv[1:]]


def environment_for_others(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without lmchat's own variables, one of which may hold an API key."""
    return {name: value for name, value in environ.items() if not name.startswith(_OWN_PREFIX)}


def needed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a child process of lmchat needs.

    Only known names are passed on: any other variable may hold a key.
    """
    return {name: value for name, value in environ.items() if _is_needed(name)}


def _is_needed(variable: str) -> bool:
    name = variable.upper()  # names of variables have no case on Windows
    return name in _NEEDED_VARIABLES or name.startswith(_NEEDED_PREFIXES)
