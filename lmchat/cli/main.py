"""Entry of the command line: from the arguments to the exit code; every way out passes here.

A module of its own that imports next to nothing, for `lmchat --version`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit code; nothing but an exit code ever leaves it."""
    try:
        if list(argv) == ["--version"]:
            code = _version()
        else:
            from lmchat.cli.run import run

            code = run(argv)
    except BrokenPipeError:
        code = 0  # who closed the pipe has read enough
    except KeyboardInterrupt:
        code = 130
    return _flushed(code)


def _version() -> int:
    from lmchat import __version__

    sys.stdout.write(f"lmchat {__version__}\n")
    sys.stdout.flush()
    return 0


def _flushed(code: int) -> int:
    """Let nothing be written any more, so that Python does not complain of a closed pipe when it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code
