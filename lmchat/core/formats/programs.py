"""Form of the table of programs whose chats can be imported.

The command line reads the table at its start, so this module imports little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

# of `--from`, beside other programs
OWN = "lmchat"
AUTO = "auto"  # any format


class Program(NamedTuple):
    """Program whose chats can be imported."""

    source: str  # of `--from`, and the tag of its sessions
    name: str  # for people
    module: str
    """Has a `Format` named `FORMAT`; for a database, `fits`, `sessions` and `VERSIONS`."""
    is_database: bool = False
    # where it may keep its files
    folders: Callable[[Mapping[str, str], Path], list[Path]] = lambda _environ, _home: []
    chats: str = ""  # in these folders: the file or folder with its chats


def program_names(programs: Iterable[Program]) -> dict[str, str]:
    """Return names for people by values of `--from`."""
    return {OWN: OWN} | {program.source: program.name for program in programs}
