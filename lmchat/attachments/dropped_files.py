"""Files that a pasted text names, as a terminal pastes the names of files dropped on it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

_MOST_PASTED_CHARS = 10_000  # a longer text is not searched for names of files


def named_files(text: str) -> tuple[Path, ...]:
    """Return the files that a text names, such as the text of files dropped on a terminal. Blocks.

    The text is tried as one name, then as several names between spaces, quoted or escaped as in a
    shell. A name is an absolute path or a `file://` address. Return no file if one of them does not
    exist, and for a long text: parsing it would take a while, and it is hardly a list of files.
    """
    if len(text) > _MOST_PASTED_CHARS:
        return ()
    with suppress(ValueError):  # a broken address, or a quote that is not closed
        one_file = _absolute_files([text.strip()])  # one name may have spaces
        return one_file or _absolute_files(shlex.split(text))
    return ()


def _absolute_files(words: Sequence[str]) -> tuple[Path, ...]:
    """Return the files that some words name. If a word names none, the words are text: return none.

    Raises `ValueError` for a broken address.
    """
    paths: list[Path] = []
    for word in words:
        if word.startswith("file://"):
            path = unquote(urlsplit(word).path)
        else:
            path = os.path.expanduser(word)  # noqa: PTH111 - Path raises for an unknown user
        if not (os.path.isabs(path) and os.path.isfile(path)):  # noqa: PTH113, PTH117 - Path may raise
            return ()
        paths.append(Path(path))
    return tuple(paths)
