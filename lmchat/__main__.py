"""Entry of `lmchat` and `python -m lmchat`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return the exit code."""
    from lmchat.cli.main import main as run  # noqa: PLC0415 - the floors are checked, the start stays cheap

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
