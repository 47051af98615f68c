"""Patterns of paths: those with `**`, and the rules of `.gitignore`.

pathspec, a library for such rules, makes regular expressions that take up to (length of the path)
** 3 steps, and nothing can stop one. Those of `fnmatch` take linear time, and `**` is a loop.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase, translate

ANY_FOLDERS = "**"  # any number of folders, also none
_SIGNS = re.compile(r"[*?\[\\]")
_MOST_RULE_CHARS = 500  # no path is that long
_MOST_RULE_STEPS = 50
_SET = r"\[[!^]?\]?(?:\[:\w+:]|\\.|[^]])*]"  # of characters
_CLASSES = {  # in a set; as in git, of ASCII alone
    "[:alnum:]": "0-9A-Za-z",
    "[:alpha:]": "A-Za-z",
    "[:blank:]": " \t",
    "[:cntrl:]": "\0-\x1f\x7f",
    "[:digit:]": "0-9",
    "[:graph:]": '"-~!',  # a first `!` would negate the set
    "[:lower:]": "a-z",
    "[:print:]": " -~",
    "[:punct:]": '"-.:-@[-`{-~!',
    "[:space:]": "\t\n\r ",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}


def fits(steps: Sequence[str], pattern: Sequence[str]) -> bool:
    """`**` fits any number of steps, also 0.

    After a misfit, the last `**` takes one step more; those before it never have to.
    """
    step = position = 0
    retry: tuple[int, int] | None = None  # step and place after a misfit
    while step < len(steps):
        wanted = pattern[position] if position < len(pattern) else None
        if wanted == ANY_FOLDERS:
            position += 1
            retry = (step, position)
        elif wanted is not None and fnmatchcase(steps[step], wanted):
            step, position = step + 1, position + 1
        elif retry is not None:
            retry = (retry[0] + 1, retry[1])
            step, position = retry
        else:
            return False
    return all(rest == ANY_FOLDERS for rest in pattern[position:])


class IgnoreRules:
    """Rules of an ignore file. A path takes at most its length times that of the file.

    git compares bytes: here, each is a character.
    """

    def __init__(self, folder: str, lines: Iterable[str], is_over: Callable[[], bool]) -> None:
        """`folder` is where the file is, such as `src/`.

        `is_over` is asked between rules: no rule is about a path any more once it says yes.
        """
        self._folder = folder
        self._is_over = is_over
        self._groups: list[_Group] = []
        for line in lines:
            self._add(_bytes_of(line.removesuffix("\r")))

    def ignores(self, path: str, *, is_folder: bool) -> bool | None:
        """None if no rule is about the path.

        All in an ignored folder is ignored, so the folder must be asked about first.
        """
        steps = _bytes_of(path[len(self._folder) :]).split("/")
        for group in reversed(self._groups):  # the last rule that fits decides
            kinds = (group.of_all, group.of_folders) if is_folder else (group.of_all,)
            if any(rules.fit(steps, self._is_over) for rules in kinds):
                return group.is_ignored
        return None

    def _add(self, line: str) -> None:
        """See https://git-scm.com/docs/gitignore."""
        rule = line.rstrip(" ")
        if rule.endswith("\\") and len(rule) < len(line):
            rule += " "  # a blank that is escaped
        is_ignored = not rule.startswith("!")
        rule = rule.removeprefix("!")
        is_of_folders = rule.endswith("/")
        rule = rule.removesuffix("/")
        if not rule or line.startswith("#") or len(rule) > _MOST_RULE_CHARS:
            return
        if not self._groups or self._groups[-1].is_ignored is not is_ignored:
            self._groups.append(_Group(is_ignored=is_ignored))
        group = self._groups[-1]
        (group.of_folders if is_of_folders else group.of_all).add(rule)


class _Group:
    """Successive rules that all ignore paths, or all keep them."""

    def __init__(self, *, is_ignored: bool) -> None:
        self.is_ignored = is_ignored
        self.of_all = _Rules()
        self.of_folders = _Rules()


class _Rules:
    """Rules whose order does not matter."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._globs: list[str] = []  # regular expressions of names
        self._any_glob: re.Pattern[str] | None = None  # all of them, once one is needed
        # steps of paths, by the first; None if that has signs, as `**`
        self._patterns: dict[str | None, list[list[str]]] = {}

    def add(self, rule: str) -> None:
        rule = re.sub(_SET, _without_classes, rule)
        if "/" in rule:
            steps = [_glob(step) for step in rule.removeprefix("/").split("/")]
            if steps[-1] == ANY_FOLDERS:  # all in a folder, not the folder itself
                steps.append("*")
            if len(steps) <= _MOST_RULE_STEPS:
                first = None if _SIGNS.search(steps[0]) else steps[0]
                self._patterns.setdefault(first, []).append(steps)
        elif _SIGNS.search(rule):
            self._globs.append(translate(_glob(rule)))
        else:
            self._names.add(rule)

    def fit(self, steps: Sequence[str], is_over: Callable[[], bool]) -> bool:
        if steps[-1] in self._names:
            return True
        if self._globs and not is_over():
            self._any_glob = self._any_glob or re.compile("|".join(self._globs))
            if self._any_glob.match(steps[-1]):
                return True
        patterns = (*self._patterns.get(steps[0], ()), *self._patterns.get(None, ()))
        return any(not is_over() and fits(steps, pattern) for pattern in patterns)


def _bytes_of(text: str) -> str:
    return os.fsencode(text).decode("latin-1")


def _without_classes(found: re.Match[str]) -> str:
    """Write a set without classes, and without the slash, which no set fits."""
    return re.sub(r"\[:\w+:]", lambda name: _CLASSES.get(name[0], ""), found[0]).replace("/", "")


def _glob(text: str) -> str:
    """Write a step of a rule for `fnmatch`, which has no escapes."""
    if re.fullmatch(r"\*\*+", text):
        return ANY_FOLDERS
    text = text.replace("[^", "[!")
    return re.sub(r"\\(.?)", lambda found: f"[{found[1]}]" if found[1] in "*?[" else found[1], text)
