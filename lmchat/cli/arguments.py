"""What was typed, read before anything that costs time is imported."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.cli.options import Options
from lmchat.cli.output import Output
from lmchat.errors import WrongUse


def read_arguments(argv: Sequence[str]) -> Options | int:
    """Return what was typed, or the exit code where that was wrong or asked for help only."""
    if not argv:
        return Options()
    from lmchat.cli.parser import WrongArguments, parse

    try:
        return parse(argv)
    except WrongArguments as error:
        hint = f"`{error.prog} --help` shows what is right."
        output = Output(is_json="--json" in argv, is_lines="--stream-json" in argv)
        output.failure(WrongUse(error.sentence, hint=hint))
        return WrongUse.exit_code
    except SystemExit as end:  # argparse has printed --help or --version
        return int(end.code or 0)
