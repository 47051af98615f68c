"""Files that a text names: a pasted one, as of dropped files, or a prompt with `@NAME`."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from lmchat.base.errors import LMChatError
from lmchat.base.files.disk import expanded_path
from lmchat.base.processes.background import in_thread
from lmchat.base.processes.environment import IS_WINDOWS, command_words

_MOST_PASTED_CHARS = 10_000  # a longer text is not searched
_MOST_NAMES = 10_000  # of a folder, in which a name is looked for
_MENTION = r'(?:^|\s)(@(?:"([^"\n]+)"|(\S*\w)))'
_MOST_MENTIONS = 20  # of a prompt, which are looked up


def named_files(text: str) -> tuple[Path, ...]:
    """Return the files that a text names. Blocks.

    It is tried as one name, then as several between spaces, quoted or escaped as in a shell. A name
    is an absolute path or a `file://` address. None is returned if one does not exist, and for a
    long text, which is slow to parse and hardly a list of files.
    """
    if len(text) > _MOST_PASTED_CHARS:
        return ()
    with suppress(ValueError, LMChatError):  # an open quote, or no current folder
        one_file = _absolute_files([text.strip()])  # one name may have spaces
        return one_file or _absolute_files(command_words(text))
    return ()


@in_thread
def mentioned_files(text: str, attached: Iterable[str]) -> dict[str, str]:
    """Return the names behind `@` that are files, by their places such as `@a.md`.

    Those with a name of an attached one, in any folder, are left out.
    """
    known = {os.path.basename(name) for name in attached}  # noqa: PTH119 - as below
    found: dict[str, str] = {}
    for mention in islice(re.finditer(_MENTION, text), _MOST_MENTIONS):
        name = mention[2] or mention[3]
        with suppress(ValueError, LMChatError):  # no current folder
            path = expanded_path(name)
            is_known = path.name in known or is_on_network(str(path))
            if not is_known and os.path.isfile(path):  # noqa: PTH113 - Path may raise
                found[mention[1]] = name
    return found


def _absolute_files(words: Sequence[str]) -> tuple[Path, ...]:
    """Return none if one of the words names no file; raises `FileRefused`, `WrongUse`."""
    paths: list[Path] = []
    for word in words:
        path = expanded_path(word)
        if not path.is_absolute() or is_on_network(str(path)):
            return ()
        file = existing_path(path)
        if not os.path.isfile(file):  # noqa: PTH113 - Path may raise
            return ()
        paths.append(file)
    return tuple(paths)


def is_on_network(path: str) -> bool:
    r"""Whether Windows would log in at another machine, as for \\host\a."""
    return IS_WINDOWS and path.replace("/", "\\").startswith("\\\\")


def existing_path(path: Path) -> Path:
    """Return the only existing path that looks like this one, or this one. Blocks.

    macOS writes accents as characters of their own (NFD), and U+202F into the names of screenshots.
    Keyboards and programs do not.
    """
    place = Path(path.anchor)
    for part in path.relative_to(place).parts:
        names = [part]
        if not os.path.lexists(place / part):
            with suppress(OSError), os.scandir(place) as entries:
                wanted = _comparable(part)
                seen = (entry.name for entry in islice(entries, _MOST_NAMES))
                names = [name for name in seen if _comparable(name) == wanted]
        if len(names) != 1:
            return path
        place /= names[0]
    return place


def _comparable(name: str) -> str:
    """Make each blank U+0020, and letters with their accents one."""
    blanks = "".join(" " if char.isspace() else char for char in name)
    return unicodedata.normalize("NFC", blanks)
