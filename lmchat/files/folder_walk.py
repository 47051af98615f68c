"""Walk through a folder without what Git ignores."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from lmchat.files.disk import read_plain

IGNORE_FILE = ".gitignore"
MOST_RULES = 1_000  # that hold in one folder; each may take some milliseconds for a name
_MOST_FILE_BYTES = 256_000  # a longer file is left out
_MOST_RULE_CHARS = 500  # a longer rule is left out
# Longest comparison: a rule with n wildcards takes up to (length of the path) ** n steps.
_MOST_STEPS = 1_000_000
_MOST_FOLDERS_ABOVE = 64  # in which a repository is looked for, the working folder included
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Rule(Struct, frozen=True):
    """One line of a file."""

    pattern: Any
    """Pattern of pathspec. Its `include` is false for a rule with `!`, which undoes other rules."""
    wildcard_count: int
    has_folder: bool
    """Whether it is compared with the whole path, as `docs/*.pdf`, not with the name alone."""
    is_for_folders: bool
    """Whether it matches only folders, as `build/`."""
    is_for_all_below: bool
    """Whether it matches all that is in a folder, as `build/**`."""

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Return whether the rule names this file or folder itself.

        A rule for a folder above it does not count, since an ignored folder is not listed at all.
        `path` is relative to the folder of the rule's file. A rule that would take too long does
        not match.
        """
        if self.is_for_folders and not is_folder:
            return False
        text = path if self.has_folder else path.rpartition("/")[2]
        if self.is_for_folders:
            text += "/"
        if len(text) ** self.wildcard_count > _MOST_STEPS:
            return False
        result = self.pattern.match_file(text)
        if result is None:
            return False
        # pathspec also matches what is below a named folder: then the match ends with that folder
        is_whole_path = result.match.end() == len(text)
        return is_whole_path or self.is_for_all_below


class IgnoreRules:
    """Rules of one file for the folder it is in; the last rule that matches decides."""

    def __init__(self, file: Path, *, folder: str = "", above: str = "") -> None:
        """Read the rules of a file. Blocks.

        For a file in a folder below the working folder, `folder` is that folder, relative to the
        working folder: `src/`. For a file in a folder above, `above` is the working folder,
        relative to that folder: `projects/lmchat/`.
        """
        self._folder = folder
        self._above = above
        self._rules = _read_rules(file)

    def __len__(self) -> int:
        return len(self._rules)

    def verdict(self, path: str, *, is_folder: bool) -> bool | None:
        """Return whether a path below the working folder is ignored; None if no rule matches it."""
        # `_above` is set for a file above the working folder, `_folder` for one below it
        path_from_file = self._above + path.removeprefix(self._folder)
        for rule in reversed(self._rules):
            if rule.matches(path_from_file, is_folder=is_folder):
                return bool(rule.pattern.include)  # False for a rule with `!`
        return None


def with_rules(files: Sequence[IgnoreRules], deeper_file: IgnoreRules) -> list[IgnoreRules]:
    """Return `files` with `deeper_file` at the end, or without it if there are too many rules."""
    rule_count = sum(len(file) for file in files) + len(deeper_file)
    return [*files, deeper_file] if rule_count <= MOST_RULES else list(files)


def is_ignored(path: str, files: Sequence[IgnoreRules], *, is_folder: bool) -> bool:
    """Return whether a path is ignored; of `files`, the last with a matching rule decides."""
    for file in reversed(files):
        verdict = file.verdict(path, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False


def rules_above(folder: Path, environ: Mapping[str, str]) -> list[IgnoreRules]:
    """Return the rules for a folder that are not in a file of this folder. Blocks.

    They come from the user's file for all repositories, from `.git/info/exclude`, and from the
    folders between the root of the repository and this one, in this order: later files have
    priority. Outside a repository, return an empty list.
    """
    working_folder = folder.absolute()
    folders_above: list[Path] = []  # of the same repository, the nearest first
    root: Path | None = None
    for candidate in [working_folder, *working_folder.parents][:_MOST_FOLDERS_ABOVE]:
        if candidate != working_folder:
            folders_above.append(candidate)
        if _has_repository(candidate):
            root = candidate
            break
    if root is None:
        return []

    home = Path(environ.get("HOME") or Path.home())
    settings = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    above_root = _with_slash(working_folder.relative_to(root))
    rules = with_rules([], IgnoreRules(settings / "git" / "ignore", above=above_root))
    rules = with_rules(rules, IgnoreRules(root / ".git" / "info" / "exclude", above=above_root))
    for folder_above in reversed(folders_above):
        above = _with_slash(working_folder.relative_to(folder_above))
        rules = with_rules(rules, IgnoreRules(folder_above / IGNORE_FILE, above=above))
    return rules


def _has_repository(folder: Path) -> bool:
    return os.path.exists(folder / ".git")  # noqa: PTH110 - Path raises where it may not look


def _with_slash(path: Path) -> str:
    """Return a relative path with a slash at the end; that of the same folder is empty."""
    return "" if path == Path() else f"{path.as_posix()}/"


def _read_rules(file: Path) -> list[_Rule]:
    """Return the first `MOST_RULES` lines of a file as rules, without lines that are no rule.

    Return an empty list if the file is missing, not readable, too long, or not a regular file.
    """
    data = b""
    with suppress(OSError):  # missing, not readable, or too long
        if file.is_file():  # a device or a pipe is not even opened
            data = read_plain(file, max_bytes=_MOST_FILE_BYTES)
    lines = os.fsdecode(data.removeprefix(_BYTE_ORDER_MARK)).split("\n")
    rules: list[_Rule] = []
    for line in lines[:MOST_RULES]:
        rule = _parse_rule(line.removesuffix("\r"))
        if rule is not None:
            rules.append(rule)
    return rules


def _parse_rule(line: str) -> _Rule | None:
    """Return the rule of a line; None for a comment, a long line, and what git does not accept."""
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # noqa: PLC0415 - 15 ms

    if len(line) > _MOST_RULE_CHARS:
        return None
    try:
        pattern = GitIgnoreSpecPattern(line)
    except (ValueError, re.error):
        return None
    if pattern.include is None:
        return None
    path = line.rstrip().removeprefix("!")
    return _Rule(
        pattern=pattern,
        wildcard_count=path.replace("**/", "*").count("*"),  # `**/` is one wildcard
        has_folder="/" in path.removesuffix("/"),
        is_for_folders=path.endswith("/"),
        # the second condition is for `*`, `**` and `**/*`
        is_for_all_below=path.endswith("/**") or not path.strip("*/"),
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
