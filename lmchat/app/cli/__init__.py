"""The command line: commands, options, exit codes, and the assembly of the program."""

from __future__ import annotations
