"""Walk through a folder without what `.gitignore` names."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Any

from lmchat.files.disk import read_plain

_IGNORE_FILE = ".gitignore"
_MOST_FILE_BYTES = 256_000  # a longer file is left out
_MOST_RULES = 1_000  # of one file
# of one rule, as in `**/*_test.*`: a search for n of them takes up to (length of the path) ** n
# steps
_MOST_WILDCARDS = 3
_MOST_FOLDERS_ABOVE = 64  # in which a repository is looked for
_MOST_LISTED = 50_000  # names of one folder that are read

# A file of rules: the folder that it is in, `src/`, and its `pathspec.GitIgnoreSpec`. All paths
# are relative to the root of the repository, or outside of one to the folder of the walk.
_Rules = tuple[str, Any]


class FolderWalk:
    """One walk, which ends after a number of files and folders, or after some time."""

    def __init__(
        self,
        folder: Path,
        *,
        most_entries: int,
        longest_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Walk through nothing yet; `longest_s` is in the seconds of `clock`."""
        self.is_cut = False  # whether the walk has reached a limit, and may have missed files
        self._folder = folder
        self._most_entries = most_entries
        self._longest_s = longest_s
        self._clock = clock

    def files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield all that is no folder, such as files and links, with its relative path. Blocks.

        Files of upper folders come first, and those of one folder by name. A link to a folder is
        not followed.
        """
        end_s = self._clock() + self._longest_s
        above = ""
        rules: tuple[_Rules, ...] = ()
        with suppress(OSError):  # the folder was removed
            above, rules = _rules_above(self._folder.absolute())
        # folders to list: the relative path, empty or with a slash at the end, and its rules
        folders = deque([("", rules)])
        entry_count = 0
        while folders and entry_count < self._most_entries:
            folder, rules = folders.popleft()
            entries: list[os.DirEntry[str]] = []
            with suppress(OSError), os.scandir(self._folder / folder) as scanned:
                entries = nsmallest(
                    self._most_entries - entry_count,
                    islice(scanned, _MOST_LISTED),
                    key=lambda entry: entry.name,
                )
            entry_count += len(entries)
            if any(entry.name == _IGNORE_FILE for entry in entries):
                rules = (*rules, *_rules_in(self._folder / folder, above + folder))
            for entry in entries:
                if self._clock() > end_s:
                    self.is_cut = True
                    return
                path = folder + entry.name
                if not entry.is_dir(follow_symlinks=False):
                    if not _is_ignored(above + path, rules):
                        yield path, entry
                elif not (entry.name.startswith(".") or _is_ignored(f"{above}{path}/", rules)):
                    folders.append((f"{path}/", rules))
        self.is_cut = entry_count >= self._most_entries


def _rules_above(folder: Path) -> tuple[str, tuple[_Rules, ...]]:
    """Return the path of a folder in its repository, and the rules of the folders above it.

    Outside of a repository, the path is empty, and there are no rules.
    """
    folders = [folder, *folder.parents][:_MOST_FOLDERS_ABOVE]
    # Path.exists would raise an error for a folder that may not be entered
    roots = (place for place in folders if os.path.exists(place / ".git"))  # noqa: PTH110
    root = next(roots, folder)
    rules: list[_Rules] = []
    steps = folder.relative_to(root).parts
    for depth in range(len(steps)):
        path = "".join(f"{step}/" for step in steps[:depth])
        rules += _rules_in(root / path, path)
    return "".join(f"{step}/" for step in steps), tuple(rules)


def _rules_in(folder: Path, path: str) -> list[_Rules]:
    """Return the rules in a folder, `path` in the repository; a list of one, or an empty one.

    Rules with many wildcards are left out: they might never end.
    """
    try:
        data = read_plain(folder / _IGNORE_FILE, max_bytes=_MOST_FILE_BYTES)
    except OSError:  # missing, not readable, or too long
        return []
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - 27 ms

    lines = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")).split("\n")[:_MOST_RULES]
    rules: list[str] = []
    for line in (line.removesuffix("\r") for line in lines):
        is_short = line.replace("**/", "*").count("*") <= _MOST_WILDCARDS
        with suppress(ValueError):  # a line that Git does not accept
            if is_short and GitIgnoreSpec.from_lines([line]):
                rules.append(line)
    return [(path, GitIgnoreSpec.from_lines(rules))]


def _is_ignored(path: str, rules: tuple[_Rules, ...]) -> bool:
    """Return whether a path is ignored; the last file with a matching rule decides."""
    for folder, spec in reversed(rules):
        include = spec.check_file(path[len(folder) :]).include
        if include is not None:
            return bool(include)
    return False
