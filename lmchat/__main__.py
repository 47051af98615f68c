"""Entry of `lmchat` and `python -m lmchat`; imports almost nothing, for a fast `--version`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv == ["--version"]:
            from lmchat import __version__

            sys.stdout.write(f"lmchat {__version__}\n")
            code = 0
        else:
            from lmchat.cli.run import run

            code = run(argv)
    except BrokenPipeError:
        code = 0  # the reader of the pipe has read enough
    except KeyboardInterrupt:
        code = 130
    _flush()
    return code


def _flush() -> None:
    """Flush stdout; Python would complain about a closed pipe at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
