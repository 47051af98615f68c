"""From the arguments to the exit code; every way out passes here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit code; nothing but an exit code ever leaves it."""
    try:
        code = _version() if list(argv) == ["--version"] else _run(argv)
    except BrokenPipeError:
        code = 0  # who closed the pipe has read enough
    except KeyboardInterrupt:
        code = 130
    return _flushed(code)


def _version() -> int:
    """Spare `--version` the 30 ms that argparse and all commands take."""
    from lmchat import __version__

    sys.stdout.write(f"lmchat {__version__}\n")
    sys.stdout.flush()
    return 0


def _run(argv: Sequence[str]) -> int:
    from lmchat.cli.arguments import read_arguments

    options = read_arguments(argv)
    if isinstance(options, int):
        return options
    from lmchat.cli.run import run

    return run(options)


def _flushed(code: int) -> int:
    """Let nothing be written any more, so that Python does not complain of a closed pipe when it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code
