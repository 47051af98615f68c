"""Search for a file while its name is typed, as after `@`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import nsmallest
from itertools import islice
from math import ceil
from pathlib import Path

from msgspec import Struct

from lmchat.base.files.folder_walk import walk
from lmchat.base.matching import fuzzy_match, normalized
from lmchat.base.processes.background import in_thread, run_abandonable
from lmchat.base.safe_text import on_one_line
from lmchat.core.attachments.dropped_files import existing_path, is_on_network

_MOST_LISTED = 5_000  # files and folders, for one list
_MOST_MATCHES = 20  # that are offered
_LIST_VALID_S = 5.0  # then the list of files is made again
# beginnings of paths that are completed, as are those with a drive of Windows
_PLACES = tuple(place + slash for place in ("", "~", "..") for slash in ("/", os.sep))


class FileFinder(Struct, eq=False):
    """Fuzzy search for files below a folder, without those that `.gitignore` names.

    Each letter is a search, so the files are listed once in `_LIST_VALID_S`, and again when a name
    begins or no file matches.
    """

    _folder: Path
    _clock: Callable[[], float] = time.monotonic
    # the newest list, perhaps still in the making
    _listing: asyncio.Future[Sequence[str]] | None = None
    _listing_started_s: float = 0.0

    async def find(self, typed: str) -> tuple[str, ...]:
        """Return at most `_MOST_MATCHES` paths, the best first.

        A text that starts with `/`, `~/`, `../` or `C:/` is completed with paths of one folder. Any
        other is searched in the list of files below the folder, whose paths are relative.
        """
        if is_on_network(typed):
            return ()
        if typed.startswith(_PLACES) or Path(typed).is_absolute():
            return await _completions(self._folder, typed)
        now_s = self._clock()
        is_old = not typed or now_s - self._listing_started_s > _LIST_VALID_S
        earlier = listing = self._listing
        if listing is None or (listing.done() and is_old):
            listing = asyncio.ensure_future(run_abandonable(self._list_files))
            self._listing = listing
            self._listing_started_s = now_s
        # if the next key cancels this search, the list is still made
        paths = await asyncio.shield(listing)
        matches = await _best_matches(paths, typed.replace(os.sep, "/"))
        if matches or listing is not earlier:
            return matches
        self._listing = None  # the file may have been made since
        return await self.find(typed)

    def _list_files(self) -> Sequence[str]:
        """Blocks."""
        found = walk(self._folder, most_entries=_MOST_LISTED)
        return [
            path
            for path, entry in found.files
            # `DirEntry.is_file` raises for links in a circle
            if _can_be_shown(path) and os.path.isfile(entry)  # noqa: PTH113
        ]


def _can_be_shown(name: str) -> bool:
    """Whether a terminal would show all of a name: not a line end."""
    return on_one_line(name) == name


@in_thread
def _completions(folder: Path, typed: str) -> tuple[str, ...]:
    """Return paths of one folder, sorted; a relative one starts at `folder`.

    Folders end with the slash as typed. Hidden files are offered once their dot is typed.
    """
    end = max(typed.rfind("/"), typed.rfind(os.sep)) + 1
    parent = typed[:end]
    name_start = typed[end:]
    # an absolute path takes the place of `folder`
    searched_folder = folder / os.path.expanduser(parent)  # noqa: PTH111 - Path may raise
    wanted_start = normalized("NFC", name_start)
    names: list[str] = []
    # a folder may be missing or not readable
    with suppress(OSError), os.scandir(existing_path(searched_folder)) as entries:
        for entry in islice(entries, _MOST_LISTED):
            is_offered = bool(name_start) or not entry.name.startswith(".")
            is_wanted = normalized("NFC", entry.name).startswith(wanted_start)
            if is_offered and is_wanted and _can_be_shown(entry.name):
                # `DirEntry.is_dir` raises for links in a circle
                is_folder = os.path.isdir(entry)  # noqa: PTH112
                names.append(entry.name + parent[-1] if is_folder else entry.name)
    return tuple(parent + name for name in sorted(names)[:_MOST_MATCHES])


@in_thread
def _best_matches(paths: Sequence[str], typed: str) -> tuple[str, ...]:
    wanted = normalized("NFC", typed)
    ranks: dict[str, tuple[int, int, str]] = {}  # less is better
    for path in paths:
        match = fuzzy_match(wanted, normalized("NFC", path))
        if match is not None:
            # rounded: of two about equal, the shorter path comes first
            ranks[path] = (-ceil(match.score), len(path), path)
    return tuple(nsmallest(_MOST_MATCHES, ranks, key=lambda path: ranks[path]))
