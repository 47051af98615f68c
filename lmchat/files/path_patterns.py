"""Patterns of paths: those with `**`, and the rules of `.gitignore`.

pathspec, a library for such rules, makes regular expressions that take up to (length of the path)
** 3 steps, and nothing can stop one. Those of `fnmatch` take linear time, and `**` is a loop.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase, translate

ANY_FOLDERS = "**"  # any number of folders, also none
_SIGNS = re.compile(r"[*?\[\\]")
# For one ignore file, and for all of a walk. For each path there is more: a hundred ordinary rules
# take about 10 µs.
_FILE_S = 0.2
_ALL_S = 2.0
_PATH_S = 100e-6
_MOST_RULE_CHARS = 500  # no path is that long
_MOST_RULE_STEPS = 50
_PART_RULES = 50  # before the clock is read again


def fits(steps: Sequence[str], pattern: Sequence[str]) -> bool:
    """`**` fits any number of steps, also 0.

    After a misfit, the last `**` takes one step more; those before it never have to.
    """
    step = place = 0
    retry: tuple[int, int] | None = None  # step and place after a misfit
    while step < len(steps):
        wanted = pattern[place] if place < len(pattern) else None
        if wanted == ANY_FOLDERS:
            place += 1
            retry = (step, place)
        elif wanted is not None and fnmatchcase(steps[step], wanted):
            step, place = step + 1, place + 1
        elif retry is not None:
            retry = (retry[0] + 1, retry[1])
            step, place = retry
        else:
            return False
    return all(rest == ANY_FOLDERS for rest in pattern[place:])


class RuleTime:
    """Time that the ignore files of a walk have taken."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.clock = clock
        self.spent_s = 0.0
        self.path_count = 0
        self.dropped_count = 0  # files whose rules are not followed

    @contextmanager
    def measured(self) -> Iterator[None]:
        begun_s = self.clock()
        yield
        self.spent_s += self.clock() - begun_s

    @property
    def is_over(self) -> bool:
        return self.spent_s > _ALL_S + self.path_count * _PATH_S


class IgnoreRules:
    """Rules of an ignore file, dropped once they have taken too long."""

    def __init__(self, folder: str, lines: Sequence[str], rule_time: RuleTime) -> None:
        """`folder` is where the file is, such as `src/`."""
        self._folder = folder
        self._time = rule_time
        self._spent_s = 0.0
        self._path_count = 0
        self._groups: list[_Group] = []
        for line in lines:
            begun_s = rule_time.clock()
            self._add(line.removesuffix("\r"))
            if self._is_too_slow(begun_s):
                return

    def ignores(self, path: str, *, is_folder: bool) -> bool | None:
        """None if no rule is about the path.

        All in an ignored folder is ignored, so the folder must be asked about first.
        """
        self._path_count += 1
        steps = path[len(self._folder) :].split("/")
        for group in reversed(self._groups):  # the last rule that fits decides
            for part in group.parts(is_folder=is_folder):
                begun_s = self._time.clock()
                is_fitting = part.fits(steps)
                if self._is_too_slow(begun_s):
                    return None
                if is_fitting:
                    return group.is_ignored
        return None

    def _is_too_slow(self, begun_s: float) -> bool:
        self._spent_s += self._time.clock() - begun_s
        if self._spent_s > _FILE_S + self._path_count * _PATH_S:
            self._groups = []
            self._time.dropped_count += 1
            return True
        return False

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
        self._groups[-1].add(rule, is_of_folders=is_of_folders)


class _Group:
    """Successive rules that all ignore paths, or all keep them."""

    def __init__(self, *, is_ignored: bool) -> None:
        self.is_ignored = is_ignored
        self._of_all: list[_Part] = []
        self._of_folders: list[_Part] = []

    def parts(self, *, is_folder: bool) -> Iterator[_Part]:
        yield from self._of_all
        if is_folder:
            yield from self._of_folders

    def add(self, rule: str, *, is_of_folders: bool) -> None:
        parts = self._of_folders if is_of_folders else self._of_all
        if not parts or parts[-1].rule_count >= _PART_RULES:
            parts.append(_Part())
        parts[-1].add(rule)


class _Part:
    """Few rules of a group, so that the time is looked at often."""

    def __init__(self) -> None:
        self.rule_count = 0  # without names, of which there may be any number
        self._names: set[str] = set()
        self._endings: tuple[str, ...] = ()  # of names, for rules such as `*.o`
        self._globs: list[str] = []  # regular expressions of names
        self._any_glob: re.Pattern[str] | None = None  # all of them, once one is needed
        # steps of paths, by the first; None if that has signs, as `**`
        self._patterns: dict[str | None, list[list[str]]] = {}

    def add(self, rule: str) -> None:
        if "/" in rule:
            steps = [_glob(step) for step in rule.removeprefix("/").split("/")]
            if steps[-1] == ANY_FOLDERS:  # all in a folder, not the folder itself
                steps.append("*")
            if len(steps) <= _MOST_RULE_STEPS:
                self.rule_count += len(steps)
                first = None if _SIGNS.search(steps[0]) else steps[0]
                self._patterns.setdefault(first, []).append(steps)
        elif rule.startswith("*") and not _SIGNS.search(rule, 1):
            self.rule_count += 1
            self._endings += (rule[1:],)
        elif _SIGNS.search(rule):
            self.rule_count += 1
            self._globs.append(translate(_glob(rule)))
            self._any_glob = None
        else:
            self._names.add(rule)

    def fits(self, steps: Sequence[str]) -> bool:
        if steps[-1] in self._names or steps[-1].endswith(self._endings):
            return True
        if self._globs:
            self._any_glob = self._any_glob or re.compile("|".join(self._globs))
            if self._any_glob.match(steps[-1]):
                return True
        patterns = (*self._patterns.get(steps[0], ()), *self._patterns.get(None, ()))
        return any(fits(steps, pattern) for pattern in patterns)


def _glob(text: str) -> str:
    """Write a step of a rule for `fnmatch`, which has no escapes."""
    if text == ANY_FOLDERS:
        return text
    text = text.replace("[^", "[!")
    return re.sub(r"\\(.?)", lambda found: f"[{found[1]}]" if found[1] in "*?[" else found[1], text)
