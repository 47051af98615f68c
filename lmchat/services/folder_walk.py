"""Walk through the files below a folder, without hidden folders and what `.gitignore` names."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from heapq import nsmallest
from itertools import islice
from pathlib import Path

from lmchat.services.ignore_rules import (
    IGNORE_FILE,
    IgnoreRules,
    is_ignored,
    rules_above,
    with_rules,
)

_MOST_LISTED = 50_000  # names of one folder that are read


class FolderWalk:
    """One walk, which ends after a number of files and folders, or after some time."""

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        *,
        most_entries: int,
        longest_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Walk through nothing yet; `longest_s` is in the seconds of `clock`."""
        self.is_cut = False  # whether the walk has reached a limit, and may have missed files
        self._folder = folder
        self._environ = environ
        self._most_entries = most_entries
        self._longest_s = longest_s
        self._clock = clock

    def files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield all that is no folder, such as files and links, with its relative path. Blocks.

        Files of upper folders come first, and those of one folder by name. A link to a folder is
        not followed.
        """
        end_s = self._clock() + self._longest_s
        rules: list[IgnoreRules] = []
        with suppress(OSError):  # the folder was removed
            rules = rules_above(self._folder, self._environ)
        # Folders to list: the relative path, empty or with a slash at the end, and its rules.
        folders = deque([("", rules)])
        entry_count = 0
        while folders and entry_count < self._most_entries:
            folder, rules = folders.popleft()
            entries = _entries_by_name(self._folder / folder, self._most_entries - entry_count)
            entry_count += len(entries)
            if any(entry.name == IGNORE_FILE for entry in entries):
                own_rules = IgnoreRules(self._folder / folder / IGNORE_FILE, folder=folder)
                rules = with_rules(rules, own_rules)

            for entry in entries:
                if self._clock() > end_s:
                    self.is_cut = True
                    return
                path = folder + entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and entry.name.startswith("."):
                    continue
                if is_ignored(path, rules, is_folder=is_folder):
                    continue
                if is_folder:
                    folders.append((f"{path}/", rules))
                else:
                    yield path, entry
        self.is_cut = entry_count >= self._most_entries


def _entries_by_name(folder: Path, limit: int) -> list[os.DirEntry[str]]:
    """Return the first entries of a folder in the order of their names, at most `limit`.

    A folder that was removed or is not readable has none.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        return nsmallest(limit, islice(entries, _MOST_LISTED), key=lambda entry: entry.name)
    return []
