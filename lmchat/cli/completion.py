"""`lmchat completion`: the shell's script, made out of the parser."""

from __future__ import annotations

import shtab

from lmchat.cli.parser import build_parser
from lmchat.cli.parts import Parts


def completion(parts: Parts) -> int:
    """Print the script for a shell."""
    parts.output.text(shtab.complete(build_parser(), shell=parts.options.shell))
    return 0
