"""Walk through a folder without what `.gitignore` names: files to offer and to attach.

Paths are texts with `/` between the steps. Those of folders end with `/`, or are "" for the first
one.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lmchat.base.files.disk import read_plain
from lmchat.base.files.path_patterns import IgnoreRules
from lmchat.base.matching import normalized

_IGNORE_FILE = ".gitignore"
_MOST_FILE_BYTES = 256_000
_MOST_S = 5.0


_Folder = tuple[Path, list[str], list[str]]


class Walk(NamedTuple):
    """What a walk through a folder has found."""

    files: Sequence[tuple[str, os.DirEntry[str]]]  # with their relative paths
    is_cut: bool
    unread: Sequence[OSError]  # of folders: they may not be entered, or are too deep


class _WalkEndedError(Exception):
    """Its time is over, or an ignore file cannot be followed."""


def walk(folder: Path, *, most_entries: int, clock: Callable[[], float] = time.monotonic) -> Walk:
    """Return all files and links that are not ignored, upper folders first.

    It enters neither hidden folders nor links to folders. It ends after `most_entries` files and
    folders, ignored ones included, after 5 s, or at an ignore file of more than 256 kB or that may
    not be read. It counts as cut then, even without more.
    """
    found: list[tuple[str, os.DirEntry[str]]] = []
    unread: list[OSError] = []
    remaining = most_entries
    end_s = clock() + _MOST_S

    def check_time() -> None:
        if clock() > end_s:
            raise _WalkEndedError

    with suppress(_WalkEndedError):
        # `above`: path of the folder in its repository
        above, rules = _rules_above(folder, check_time)
        # relative path, "" or with a slash at the end, and rules
        folders = deque([] if rules is None else [("", rules)])
        while folders and remaining > 0:
            below, rules = folders.popleft()
            entries: list[os.DirEntry[str]] = []
            try:
                with os.scandir(folder / below) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)[:remaining]
            except FileNotFoundError:  # it is gone
                pass
            except OSError as error:
                unread.append(error)
            remaining -= len(entries)
            if any(entry.name == _IGNORE_FILE for entry in entries):
                rules = (*rules, *_rules_in(folder / below, above + below))
            for entry in entries:
                check_time()
                is_folder = entry.is_dir(follow_symlinks=False)
                path = below + entry.name
                if _is_ignored(above + path, rules, is_folder=is_folder):
                    continue
                if not is_folder:
                    found.append((path, entry))
                elif not entry.name.startswith("."):
                    folders.append((f"{path}/", rules))
        return Walk(found, is_cut=remaining <= 0, unread=unread)
    return Walk(found, is_cut=True, unread=unread)


def folders_below(top: Path, *, follows_links: bool = False) -> Iterator[_Folder]:
    """Yield each folder with the names of its folders and its files, without unreadable ones.

    The caller may change the list of folders, which are entered in its order. `os.walk` calls
    itself for each level before Python 3.12.
    """
    left = [top]
    while left:
        folder = left.pop()
        folder_names: list[str] = []
        file_names: list[str] = []
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                # `DirEntry.is_dir` raises an error for links in a circle, which are no folders
                is_folder = os.path.isdir(entry)  # noqa: PTH112
                (folder_names if is_folder else file_names).append(entry.name)
        yield folder, folder_names, file_names
        below = (folder / name for name in reversed(folder_names))
        left += [path for path in below if follows_links or not os.path.islink(path)]  # noqa: PTH114


def _rules_above(
    folder: Path, check_time: Callable[[], None]
) -> tuple[str, tuple[IgnoreRules, ...] | None]:
    """Return the path in the repository, "" outside of one, and the rules; None: do not walk."""
    try:
        folder = folder.absolute()
    except FileNotFoundError:  # the current folder was removed
        return "", ()
    # Path.exists raises for a folder that may not be entered
    roots = (place for place in (folder, *folder.parents) if os.path.exists(place / ".git"))  # noqa: PTH110
    root = next(roots, folder)
    rules: list[IgnoreRules] = []
    path = ""
    for step in folder.relative_to(root).parts:
        check_time()
        rules += _rules_in(root / path, path)
        if _is_ignored(path + step, rules, is_folder=True):
            return path, None
        path += f"{step}/"
    return path, tuple(rules)


def _rules_in(folder: Path, path: str) -> list[IgnoreRules]:
    """`path` is that of the folder in the repository; without one, in the walk."""
    try:
        data = read_plain(folder / _IGNORE_FILE, max_bytes=_MOST_FILE_BYTES)
    except OSError as error:  # missing, or no file
        if error.errno in (errno.EFBIG, errno.EACCES):
            raise _WalkEndedError from None
        return []
    without_bom = data.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of UTF-8
    lines = normalized("NFC", os.fsdecode(without_bom)).split("\n")
    return [IgnoreRules(normalized("NFC", path), lines)]


def _is_ignored(path: str, rules: Sequence[IgnoreRules], *, is_folder: bool) -> bool:
    """The last file with a matching rule decides."""
    composed = normalized("NFC", path)  # macOS may list names in NFD, which git composes too
    for rules_of_file in reversed(rules):
        is_ignored = rules_of_file.ignores(composed, is_folder=is_folder)
        if is_ignored is not None:
            return is_ignored
    return False
