"""Files of the working folder for completion, and files that a pasted text names."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from heapq import nsmallest
from itertools import islice
from math import ceil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lmchat.files.folder_walk import FolderWalk
from lmchat.matching import fuzzy_match
from lmchat.processes.threads import run_abandonable

MOST_FILES = 5_000  # files and folders that are looked at for one list
_MOST_MATCHES = 20  # paths that are offered
_LIST_VALID_S = 5.0  # after it, the list of files is made again
_LONGEST_WALK_S = 2.0
_MOST_PASTED_CHARS = 10_000  # a longer text is not searched for names of files


class FileFinder:
    """Fuzzy search for files below a folder; what `.gitignore` names is left out.

    `clock` returns seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
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
        """Return the paths of the files below the folder, without those that cannot be printed.

        After `MOST_FILES` files and folders, or `_LONGEST_WALK_S`, the rest is left out. Blocks.
        """
        walk = FolderWalk(
            self._folder,
            most_entries=MOST_FILES,
            longest_s=_LONGEST_WALK_S,
            clock=self._clock,
        )
        return [path for path, entry in walk.files() if path.isprintable() and _is_file(entry)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # links in a circle
        return entry.is_file()
    return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # a link in a circle, or into a folder that may not be entered
        return entry.is_dir()
    return False


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
                names.append(entry.name + "/" if _is_folder(entry) else entry.name)
    return tuple(parent + slash + name for name in sorted(names)[:_MOST_MATCHES])


def _best_matches(paths: Sequence[str], typed: str) -> tuple[str, ...]:
    """Return at most 20 of the paths that match, the best first."""
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
