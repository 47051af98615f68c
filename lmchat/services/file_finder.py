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

MOST_FILES = 5_000  # files and folders that are looked at for one list
_MOST_LISTED = 50_000  # names of one folder that are read
_MOST_MATCHES = 20  # paths that are offered
_LIST_VALID_S = 5.0  # after it, the list of files is made again
_LONGEST_WALK_S = 2.0  # after it, the list has the files that were found so far
_MOST_PASTED_CHARS = 10_000  # a longer text is not searched for names of files


class FileFinder:
    """Fuzzy search for files below a folder; what `.gitignore` names is left out.

    `clock` returns seconds.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._environ = environ
        self._clock = clock
        self._listing: asyncio.Future[Sequence[str]] | None = None  # the list, or its making
        self._listing_begun_s = 0.0

    async def find(self, typed: str) -> tuple[str, ...]:
        """Return at most 20 paths that match what was typed, the best ones first.

        A text that begins with `/`, `~/` or `../` is completed: the paths of one folder that begin
        with it are returned. Any other text is searched in the list of files below the folder,
        whose paths are relative. That list is made again if it is older than 5 seconds.
        """
        if typed.startswith(("/", "~/", "../")):
            return await run_abandonable(partial(_completions, self._folder, typed))
        now_s = self._clock()
        is_old = now_s - self._listing_begun_s > _LIST_VALID_S
        if self._listing is None or (self._listing.done() and is_old):
            self._listing = asyncio.ensure_future(run_abandonable(self._list_files))
            self._listing_begun_s = now_s
        # If this search is cancelled, as by the next key, the list is still made for the next one.
        paths = await asyncio.shield(self._listing)
        return await run_abandonable(partial(_best_matches, paths, typed))

    def _list_files(self) -> Sequence[str]:
        """Return the paths that `_walk` yields, without those that cannot be printed."""
        return [path for path in islice(self._walk(), MOST_FILES) if path.isprintable()]

    def _walk(self) -> Iterator[str]:
        """Yield the paths of files relative to the folder, those of upper folders first.

        Hidden folders, and files and folders that `.gitignore` names, are left out. The walk ends
        after `MOST_FILES` files and folders, or after `_LONGEST_WALK_S`.
        """
        end_s = self._clock() + _LONGEST_WALK_S
        rules: list[IgnoreRules] = []
        with suppress(OSError):  # the working folder was removed
            rules = rules_above(self._folder, self._environ)
        # Folders to list: the relative path, empty or with a slash at the end, and its rules.
        folders = deque([("", rules)])
        entry_count = 0
        while folders and entry_count < MOST_FILES:
            folder, rules = folders.popleft()
            entries = _entries_by_name(self._folder / folder, MOST_FILES - entry_count)
            entry_count += len(entries)
            if any(entry.name == IGNORE_FILE for entry in entries):
                own_rules = IgnoreRules(self._folder / folder / IGNORE_FILE, folder=folder)
                rules = with_rules(rules, own_rules)

            for entry in entries:
                if self._clock() > end_s:
                    return
                path = folder + entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and entry.name.startswith("."):
                    continue
                if is_ignored(path, rules, is_folder=is_folder):
                    continue
                if is_folder:
                    folders.append((f"{path}/", rules))
                elif _is_file(entry):
                    yield path


def _is_file(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # links in a circle
        return entry.is_file()
    return False


def _entries_by_name(folder: Path, limit: int) -> list[os.DirEntry[str]]:
    """Return the first entries of a folder in the order of their names, at most `limit`.

    A folder that was removed or is not readable has none.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        return nsmallest(limit, islice(entries, _MOST_LISTED), key=lambda entry: entry.name)
    return []


def _completions(folder: Path, typed: str) -> tuple[str, ...]:
    """Return the paths that begin with the typed one, in its folder, at most 20 by name.

    A relative path begins at `folder`. Paths of folders end with a slash. Hidden files are offered
    once their dot is typed.
    """
    parent, slash, name_start = typed.rpartition("/")
    searched_folder = folder / os.path.expanduser(parent + slash)  # noqa: PTH111 - Path may raise
    names: list[str] = []
    # Nothing is found in a folder that is missing or not readable.
    with suppress(OSError), os.scandir(searched_folder) as entries:
        for entry in islice(entries, MOST_FILES):
            is_offered = bool(name_start) or not entry.name.startswith(".")
            if is_offered and entry.name.startswith(name_start) and entry.name.isprintable():
                names.append(entry.name + "/" if entry.is_dir() else entry.name)
    return tuple(parent + slash + name for name in sorted(names)[:_MOST_MATCHES])


def _best_matches(paths: Sequence[str], typed: str) -> tuple[str, ...]:
    """Return the 20 paths that match best, the best first."""
    ranks: dict[str, tuple[int, int, str]] = {}  # smaller is better
    for path in paths:
        match = fuzzy_match(typed, path)
        if match is not None:
            # scores are rounded, so that of about equal ones the shorter path comes first
            ranks[path] = (-ceil(match.score), len(path), path)
    return tuple(nsmallest(_MOST_MATCHES, ranks, key=lambda path: ranks[path]))


def named_files(text: str) -> tuple[Path, ...]:
    """Return the files that a text names, such as the text of files dropped on a terminal. Blocks.

    The text is tried as one name, then as several names between spaces, quoted or escaped as in a
    shell. A name is an absolute path or a `file://` address. Return no file if one of them does not
    exist.
    """
    with suppress(ValueError):  # a broken address, or a quote that is not closed
        one_file = _absolute_files([text.strip()])  # one name may have spaces
        return one_file or _absolute_files(shlex.split(text[:_MOST_PASTED_CHARS]))
    return ()


def _absolute_files(words: Sequence[str]) -> tuple[Path, ...]:
    """Return the files that some words name, or no file if a word names none.

    Raises `ValueError` for a broken address.
    """
    paths = [_path_of_word(word) for word in words]
    return tuple(map(Path, paths)) if all(map(_is_absolute_file, paths)) else ()


def _path_of_word(word: str) -> str:
    """Return the path of a name or `file://` address; raises `ValueError` for a broken one."""
    if word.startswith("file://"):
        return unquote(urlsplit(word).path)
    return os.path.expanduser(word)  # noqa: PTH111 - Path raises for an unknown user


def _is_absolute_file(path: str) -> bool:
    return os.path.isabs(path) and os.path.isfile(path)  # noqa: PTH113, PTH117 - Path may raise
