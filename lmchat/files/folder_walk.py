"""Walk through a folder without what `.gitignore` names: files to offer and to attach.

Paths are texts with `/` between the steps. Those of folders end with `/`, or are empty for the
folder in which all paths begin.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from lmchat.files.disk import read_plain

_IGNORE_FILE = ".gitignore"
_MOST_FILE_BYTES = 256_000  # a longer file is left out
# Limit of the wildcards in a rule; `**/*_test.*` has three. A search for n wildcards takes up to
# (length of the path) ** n steps.
_MOST_WILDCARDS = 3

# Rules of an ignore file: its folder, such as `src/`, and its `pathspec.GitIgnoreSpec`. All paths
# are relative to the root of the repository; without a repository, to the folder of the walk.
_Rules = tuple[str, Any]


def walk(folder: Path, *, most_entries: int) -> tuple[list[tuple[str, os.DirEntry[str]]], bool]:
    """Return all files and links below a folder that are not ignored, each with its relative path.

    Files of upper folders come first; files of one folder are sorted by name. The walk enters
    neither hidden folders nor links to folders. It ends after `most_entries` files and folders,
    ignored ones included; the second value is then True, also if there are no more. Blocks.
    """
    found: list[tuple[str, os.DirEntry[str]]] = []
    above, rules = _rules_above(folder)  # `above`: path of the folder in its repository
    # folders to list: the relative path, empty or with a slash at the end, and its rules
    folders = deque([("", rules)])
    remaining = most_entries
    while folders and remaining > 0:
        below, rules = folders.popleft()
        entries: list[os.DirEntry[str]] = []
        with suppress(OSError), os.scandir(folder / below) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)[:remaining]
        remaining -= len(entries)
        if any(entry.name == _IGNORE_FILE for entry in entries):
            rules = (*rules, *_rules_in(folder / below, above + below))
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            path = f"{below}{entry.name}/" if is_folder else below + entry.name
            if _is_ignored(above + path, rules):
                continue
            if not is_folder:
                found.append((path, entry))
            elif not entry.name.startswith("."):
                folders.append((path, rules))
    return found, remaining <= 0


def _rules_above(folder: Path) -> tuple[str, tuple[_Rules, ...]]:
    """Return the path of a folder in its repository, and the rules of the folders above it.

    Outside of a repository, the path is empty, and there are no rules.
    """
    try:
        folder = folder.absolute()
    except FileNotFoundError:  # the current folder was removed
        return "", ()
    # Path.exists would raise an error for a folder that may not be entered
    roots = (place for place in (folder, *folder.parents) if os.path.exists(place / ".git"))  # noqa: PTH110
    root = next(roots, folder)
    rules: list[_Rules] = []
    path = ""
    for step in folder.relative_to(root).parts:
        rules += _rules_in(root / path, path)
        path += f"{step}/"
    return path, tuple(rules)


def _rules_in(folder: Path, path: str) -> list[_Rules]:
    """Return a list of one: the rules of the ignore file in a folder; empty without such a file.

    `path` is the path of the folder in the repository. Rules with many wildcards are left out: a
    search for them might never end.
    """
    try:
        data = read_plain(folder / _IGNORE_FILE, max_bytes=_MOST_FILE_BYTES)
    except OSError:  # missing, not readable, or too long
        return []
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - 35 ms

    without_bom = data.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of UTF-8
    lines = os.fsdecode(without_bom).split("\n")
    patterns: list[Any] = []
    for line in lines:
        if line.replace("**/", "*").count("*") > _MOST_WILDCARDS:  # `**/` is one wildcard
            continue
        with suppress(ValueError):  # a line that Git does not accept
            patterns += GitIgnoreSpec.from_lines([line.removesuffix("\r")]).patterns
    return [(path, GitIgnoreSpec(patterns))]


def _is_ignored(path: str, rules: tuple[_Rules, ...]) -> bool:
    """Return whether a path is ignored; the last file with a matching rule decides."""
    for folder, spec in reversed(rules):
        # For pathspec, a path that a rule ignores is included (True), and one that a rule with `!`
        # keeps is not (False). Without a rule for the path, it returns None.
        is_ignored = spec.check_file(path[len(folder) :]).include
        if is_ignored is not None:
            return bool(is_ignored)
    return False
