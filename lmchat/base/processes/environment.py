"""Programs on PATH, and the environment that programs get."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from lmchat.base.files.disk import system_error

_OVER_SSH = ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")
_OWN_PREFIX = "LMCHAT_"
IS_WINDOWS = sys.platform == "win32"
# of programs on Windows, which are typed without them
_ENDINGS = tuple(os.environ.get("PATHEXT", ".EXE").split(";")) if IS_WINDOWS else ()
# that every program may need, in capitals
_NEEDED_VARIABLES = frozenset(
    (
        *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
        *("APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS"),
        *("PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME"),
        *("USERPROFILE", "WINDIR", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        *("XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS"),
    )
)
# for the language, Python and its libraries, graphics cards
_NEEDED_PREFIXES = (
    *("LC_", "XDG_", "LD_", "DYLD_", "PYTHON", "PROCESSOR_"),
    *("CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "GGML_", "VK_", "OMP_", "GOMP_"),
)
# for certificates, proxies, and windows
_NEEDED_ENDS = ("CERT", "CERTS", "CA_BUNDLE", "CAINFO", "_PROXY", "DISPLAY")
_KEY_ENDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")  # such as NVIDIA_API_KEY


def find_program(name: str, search_path: str, endings: Sequence[str] = _ENDINGS) -> str:
    """Return an absolute path; "" if the program is not in `search_path`.

    Only absolute folders are searched: in the current one may be a stranger's program.
    """
    has_ending = name.lower().endswith(tuple(map(str.lower, endings)))
    for folder in search_path.split(os.pathsep):
        path = Path(folder, name)  # `name` alone if it is absolute
        # Path by path: with a whole `PATH`, Windows searches the current folder first. Before
        # Python 3.12, `which` adds no ending to a path.
        for ending in endings if endings and not has_ending else ("", *endings):
            if path.is_absolute() and (program := shutil.which(f"{path}{ending}")):
                return program
    return ""


def is_over_ssh(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in _OVER_SSH)


def command_words(command: str, *, is_windows: bool = IS_WINDOWS) -> list[str]:
    """Raises `ValueError` for an open quote. On Windows, a backslash divides folders."""
    words = shlex.shlex(command, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = ""
    words.escape = "" if is_windows else words.escape
    return list(words)


def command_line(words: Sequence[str], *, is_windows: bool = IS_WINDOWS) -> str:
    return subprocess.list2cmdline(words) if is_windows else shlex.join(words)


def with_absolute_program(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Raises `FileNotFoundError`."""
    program = find_program(argv[0], environ.get("PATH", os.defpath))
    if not program:
        raise system_error(errno.ENOENT, argv[0])
    return [program, *argv[1:]]


def environment_for_others(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave out lmchat's own variables, one of which may hold an API key."""
    return {name: value for name, value in environ.items() if not name.startswith(_OWN_PREFIX)}


def needed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a child process of lmchat needs: any other variable may hold a key."""
    return {name: value for name, value in environ.items() if _is_needed(name)}


def environment_of_programs(
    environ: Mapping[str, str], key_variables: Collection[str]
) -> dict[str, str]:
    """Return what started programs get: all but the API keys of lmchat and of servers."""
    environment = environment_for_others(environ)
    others = {name: value for name, value in environment.items() if name not in key_variables}
    return others | needed_environment(environment)


def _is_needed(variable: str) -> bool:
    name = variable.upper()  # names of variables have no case on Windows
    has_form = name.startswith(_NEEDED_PREFIXES) or name.endswith(_NEEDED_ENDS)
    return name in _NEEDED_VARIABLES or (has_form and not name.endswith(_KEY_ENDS))
