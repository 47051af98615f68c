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
from lmchat.text import match
from lmchat.threads import run_abandonable

MOST_FILES = 5_000  # files that are looked at
_MOST_LISTED = 50_000  # names of one folder that are read
_MOST_FOUND = 20
_FRESH_S = 5.0
_LONGEST_PASTE = 10_000
_LONGEST_WALK_S = 2.0  # what has been found by then is offered


class FileFinder:
    """Fuzzy search for files below a folder; what `.gitignore` names is left out."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._environ, self._clock = folder, environ, clock
        self._listing: asyncio.Future[Sequence[str]] | None = None
        self._listed_s = 0.0

    async def find(self, typed: str) -> tuple[str, ...]:
        """Return the best matches as relative paths; the list of files is made again every few seconds.

        A path from `/`, `~/` or `../` on is completed folder by folder.
        """
        if typed.startswith(("/", "~/", "../")):
            return await run_abandonable(partial(_completed, self._folder, typed))
        now_s = self._clock()
        if self._listing is None or (self._listing.done() and now_s - self._listed_s > _FRESH_S):
            self._listing = asyncio.ensure_future(run_abandonable(self._names))
            self._listed_s = now_s
        names = await asyncio.shield(self._listing)
        return await run_abandonable(partial(_best, names, typed))

    def _names(self) -> Sequence[str]:
        found = islice(self._walked(), MOST_FILES)
        return [name for name in found if name.isprintable()]

    def _walked(self) -> Iterator[str]:
        """Yield files, those of the upper folders first, without hidden folders and ignored files."""
        until_s = self._clock() + _LONGEST_WALK_S
        rules: list[IgnoreRules] = []
        with suppress(OSError):
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
                if self._clock() > until_s:
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
    with suppress(OSError), os.scandir(folder) as entries:
        return nsmallest(limit, islice(entries, _MOST_LISTED), key=lambda entry: entry.name)
    return []


def _completed(folder: Path, typed: str) -> tuple[str, ...]:
    """Return what a folder holds that begins with the last part of a path, folders with a slash."""
    above, slash, start = typed.rpartition("/")
    names: list[str] = []
    with suppress(OSError), os.scandir(folder / os.path.expanduser(above + slash)) as entries:  # noqa: PTH111 - Path raises for an unknown user
        names = [one.name + "/" * one.is_dir() for one in islice(entries, MOST_FILES)]
    found = (name for name in names if name.startswith(start) and (start or name[0] != "."))
    return tuple(above + slash + name for name in sorted(found)[:_MOST_FOUND] if name.isprintable())


def _best(names: Sequence[str], typed: str) -> tuple[str, ...]:
    found = ((name, hit.score) for name in names if (hit := match(typed, name)) is not None)
    best = nsmallest(_MOST_FOUND, found, key=lambda one: (-ceil(one[1]), len(one[0]), one[0]))
    return tuple(name for name, _ in best)


def named_files(text: str) -> tuple[Path, ...]:
    """Return the files that a text names, as a terminal pastes dropped ones; none if it says more. Blocks.

    Names are absolute, and may be quoted, escaped, or `file://` addresses.
    """
    words = [text.strip()]
    for _ in range(2):
        paths = [_path(word) for word in words]
        if paths and all(os.path.isabs(path) and os.path.isfile(path) for path in paths):  # noqa: PTH113, PTH117 - Path raises for some
            return tuple(map(Path, paths))
        with suppress(ValueError):  # a quote that is not closed
            words = shlex.split(text[:_LONGEST_PASTE])
    return ()


def _path(word: str) -> str:
    if word.startswith("file://"):
        return unquote(urlsplit(word).path)
    return os.path.expanduser(word)  # noqa: PTH111 - Path raises for an unknown user
