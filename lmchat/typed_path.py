"""A path as a person typed it: in a prompt, a dialog, a flag or a variable of the environment."""

from __future__ import annotations

from pathlib import Path

from lmchat.errors import FileRefused


def path_of(name: str) -> Path:
    """Return the file that a person named; `~` is the home folder.

    Raises:
        FileRefused: no file can have this name.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise FileRefused(f"{name} names a home folder that is not known.", hint="Type the path.") from error
    if "\0" in name:
        raise FileRefused("A file name cannot hold a NUL.", hint="Type another name.")
    return path
