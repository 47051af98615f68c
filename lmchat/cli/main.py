"""From the arguments to the exit code; every way out passes here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit code; nothing but an exit code ever leaves it."""
    if list(argv) == ["--version"]:  # spares it the 30 ms that argparse and all commands take
        from lmchat import __version__

        return _printed(f"lmchat {__version__}\n")
    from lmchat.cli.run import run

    try:
        code = run(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    except KeyboardInterrupt:
        return 130
    return code


def _printed(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    return 0


def _reader_gone() -> int:
    """End quietly: who closed the pipe has read enough; the exit must not write to it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
