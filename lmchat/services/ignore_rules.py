"""Rules of `.gitignore` files.

They are read without git, which runs programs that a folder's `.git/config` names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from lmchat.files import read_plain

IGNORE_FILE = ".gitignore"
MOST_RULES = 1_000  # that hold in one folder; each may take some milliseconds for a name
_MOST_BYTES = 256_000  # of one file; a longer one is left out
_LONGEST_RULE = 500  # characters
_MOST_STEPS = 1_000_000
"""Most steps of one comparison: a rule with n wildcards takes up to (length of the path) ** n."""
_MOST_PARENTS = 64  # folders above the working folder
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Rule(Struct, frozen=True):
    """One line of a file."""

    pattern: Any  # of pathspec
    wildcards: int
    has_folder: bool  # it is compared with the path, else with the name alone
    is_for_folders: bool
    is_for_all_below: bool

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Return whether it names this path itself; a folder above it has been judged before."""
        if self.is_for_folders and not is_folder:
            return False
        text = path if self.has_folder else path.rpartition("/")[2]
        if self.is_for_folders:
            text += "/"
        if len(text) ** self.wildcards > _MOST_STEPS:
            return False
        found = self.pattern.match_file(text)
        return found is not None and (self.is_for_all_below or found.match.end() == len(text))


class IgnoreRules:
    """Rules of one file for the folder it is in; the last rule that matches decides."""

    def __init__(self, file: Path, *, folder: str = "", above: str = "") -> None:
        """Read a file of `folder`, which is below the working folder, or of one above it. Blocks.

        `above` is the working folder as seen from there. Both are relative and end with a slash.
        """
        self._folder = folder
        self._above = above
        self._rules = _rules_of(file)

    def __len__(self) -> int:
        return len(self._rules)

    def verdict(self, path: str, *, is_folder: bool) -> bool | None:
        """Return whether a path below the working folder is ignored; None: no rule is about it."""
        below = self._above + path.removeprefix(self._folder)
        for rule in reversed(self._rules):
            if rule.matches(below, is_folder=is_folder):
                return bool(rule.pattern.include)
        return None


def with_rules(rules: Sequence[IgnoreRules], own: IgnoreRules) -> list[IgnoreRules]:
    """Return the rules with those of a deeper folder, unless these are too many."""
    count = sum(len(part) for part in rules) + len(own)
    return [*rules, own] if count <= MOST_RULES else list(rules)


def is_ignored(path: str, rules: Sequence[IgnoreRules], *, is_folder: bool) -> bool:
    """Return whether a path is ignored; of the rules, the last ones decide first."""
    for part in reversed(rules):
        verdict = part.verdict(path, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False


def rules_above(folder: Path, environ: Mapping[str, str]) -> list[IgnoreRules]:
    """Return the rules that hold in a folder before its own. Blocks.

    They are those of the user, and of the repository that the folder is in.
    """
    top = folder.absolute()
    parents = [top, *top.parents][:_MOST_PARENTS]
    root = next((parent for parent in parents if _has_repository(parent)), None)
    if root is None:
        return []
    home = Path(environ.get("HOME") or Path.home())
    settings = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    above = _with_slash(top.relative_to(root))
    rules = with_rules([], IgnoreRules(settings / "git" / "ignore", above=above))
    rules = with_rules(rules, IgnoreRules(root / ".git" / "info" / "exclude", above=above))
    between = parents[1 : parents.index(root) + 1]
    for parent in reversed(between):
        relative = _with_slash(top.relative_to(parent))
        rules = with_rules(rules, IgnoreRules(parent / IGNORE_FILE, above=relative))
    return rules


def _has_repository(folder: Path) -> bool:
    return os.path.exists(folder / ".git")  # noqa: PTH110 - Path raises where it may not look


def _with_slash(path: Path) -> str:
    return "" if path == Path() else f"{path.as_posix()}/"


def _rules_of(file: Path) -> list[_Rule]:
    """Return the rules of a file; none if it is missing, too long, or no regular file."""
    data = b""
    with suppress(OSError):  # missing, not readable, or too long
        if file.is_file():  # a device or a pipe is not even opened
            data = read_plain(file, max_bytes=_MOST_BYTES)
    lines = os.fsdecode(data.removeprefix(_BYTE_ORDER_MARK)).split("\n")
    rules: list[_Rule] = []
    for line in lines[:MOST_RULES]:
        rule = _rule(line.removesuffix("\r"))
        if rule is not None:
            rules.append(rule)
    return rules


def _rule(line: str) -> _Rule | None:
    """Return the rule of a line; None for a comment and for what git would not understand."""
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # noqa: PLC0415 - 15 ms

    if len(line) > _LONGEST_RULE:
        return None
    try:
        pattern = GitIgnoreSpecPattern(line)
    except (ValueError, re.error):
        return None
    if pattern.include is None:
        return None
    words = line.rstrip().removeprefix("!")
    return _Rule(
        pattern=pattern,
        wildcards=words.replace("**/", "*").count("*"),
        has_folder="/" in words.removesuffix("/"),
        is_for_folders=words.endswith("/"),
        is_for_all_below=words.endswith("/**") or not words.strip("*/"),
    )
