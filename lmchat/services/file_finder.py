"""Files of the working folder for completion, and files that a pasted text names."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from heapq import nsmallest
from itertools import islice
from math import ceil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lmchat.services.ignore_rules import (
    IGNORE_FILE,
    IgnoreRules,
    is_ignored,
    rules_above,
    with_rules,
)
from lmchat.text import fuzzy_match
from lmchat.threads import run_abandonable

MOST_FILES = 5_000  # files that are looked at
_MOST_LISTED = 50_000  # names of one folder that are read
_MOST_FOUND = 20  # names that are offered
_FRESH_S = 5.0  # for which a list of files is used
_LONGEST_WALK_S = 2.0  # what has been found by then is offered
_LONGEST_PASTE = 10_000  # characters that may be names of files


class FileFinder:
    """Fuzzy search for files below a folder; what `.gitignore` names is left out."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._environ = environ
        self._clock = clock
        self._listing: asyncio.Future[Sequence[str]] | None = None
        self._listed_s = 0.0

    async def find(self, typed: str) -> tuple[str, ...]:
        """Return the best matches as relative paths.

        The list of files is made again every few seconds. A path from `/`, `~/` or `../` on is
        completed folder by folder.
        """
        if typed.startswith(("/", "~/", "../")):
            return await run_abandonable(partial(_completed, self._folder, typed))
        now_s = self._clock()
        is_old = now_s - self._listed_s > _FRESH_S
        if self._listing is None or (self._listing.done() and is_old):
            self._listing = asyncio.ensure_future(run_abandonable(self._names))
            self._listed_s = now_s
        names = await asyncio.shield(self._listing)
        return await run_abandonable(partial(_best, names, typed))

    def _names(self) -> Sequence[str]:
        found = islice(self._walked(), MOST_FILES)
        return [name for name in found if name.isprintable()]

    def _walked(self) -> Iterator[str]:
        """Yield files, those of the upper folders first.

        Hidden folders and ignored files are left out.
        """
        end_s = self._clock() + _LONGEST_WALK_S
        rules: list[IgnoreRules] = []
        with suppress(OSError):  # the working folder was removed
            rules = rules_above(self._folder, self._environ)
        waiting = deque([("", rules)])
        seen = 0
        while waiting and seen < MOST_FILES:
            below, rules = waiting.popleft()
            entries = _listed(self._folder / below, MOST_FILES - seen)
            seen += len(entries)
            if any(entry.name == IGNORE_FILE for entry in entries):
                own = IgnoreRules(self._folder / below / IGNORE_FILE, folder=below)
                rules = with_rules(rules, own)
            for entry in entries:
                if self._clock() > end_s:
                    return
                name = below + entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and entry.name.startswith("."):
                    continue
                if is_ignored(name, rules, is_folder=is_folder):
                    continue
                if is_folder:
                    waiting.append((f"{name}/", rules))
                elif _is_file(entry):
                    yield name


def _is_file(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # links in a circle
        return entry.is_file()
    return False


def _listed(folder: Path, limit: int) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:  # removed, or not readable
        return nsmallest(limit, islice(entries, _MOST_LISTED), key=lambda entry: entry.name)
    return []


def _completed(folder: Path, typed: str) -> tuple[str, ...]:
    """Return what a folder holds that begins with the last part of a path, folders with a slash."""
    above, slash, start = typed.rpartition("/")
    searched = folder / os.path.expanduser(above + slash)  # noqa: PTH111 - Path may raise
    names: list[str] = []
    with suppress(OSError), os.scandir(searched) as entries:  # no such folder, or not readable
        for entry in islice(entries, MOST_FILES):
            is_shown = bool(start) or not entry.name.startswith(".")
            if is_shown and entry.name.startswith(start) and entry.name.isprintable():
                names.append(entry.name + "/" if entry.is_dir() else entry.name)
    return tuple(above + slash + name for name in sorted(names)[:_MOST_FOUND])


def _best(names: Sequence[str], typed: str) -> tuple[str, ...]:
    ranks: dict[str, tuple[int, int, str]] = {}
    for name in names:
        if (hit := fuzzy_match(typed, name)) is not None:
            ranks[name] = (-ceil(hit.score), len(name), name)
    return tuple(nsmallest(_MOST_FOUND, ranks, key=lambda name: ranks[name]))


def named_files(text: str) -> tuple[Path, ...]:
    """Return the files that a text names, as a terminal pastes dropped ones. Blocks.

    A text that says more names none. Names are absolute, and may be quoted, escaped, or `file://`
    addresses.
    """
    words = [text.strip()]
    for _ in range(2):
        with suppress(ValueError):  # a broken address, or a quote that is not closed
            paths = [_path(word) for word in words]
            if paths and all(map(_is_absolute_file, paths)):
                return tuple(map(Path, paths))
            words = shlex.split(text[:_LONGEST_PASTE])
    return ()


def _path(word: str) -> str:
    """Return a path; raises `ValueError` for a broken address."""
    if word.startswith("file://"):
        return unquote(urlsplit(word).path)
    return os.path.expanduser(word)  # noqa: PTH111 - Path raises for an unknown user


def _is_absolute_file(path: str) -> bool:
    return os.path.isabs(path) and os.path.isfile(path)  # noqa: PTH113, PTH117 - Path may raise
