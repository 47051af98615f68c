"""The rules of `.gitignore`, read as git reads them.

pathspec, a library for such rules, makes regular expressions that take up to (length of the path)
** 3 steps, and nothing can stop one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

ANY_FOLDERS = "**"  # any number of folders, also none
_ALL = "".join(map(chr, range(256)))
_NAME = _ALL.replace("/", "")  # characters of a name
_CLASSES = {  # in a set; as in git, of ASCII alone
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \t",
    "cntrl": "\0-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@[-`{-~",
    "space": "\t\n\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
# No atomic groups: Python before 3.11.5 mixes them up with groups that capture. No part can be read
# in two ways, so nothing is tried twice.
_ITEM = re.compile(  # of a set: a class, or a character, or a range of them
    rf"(?s:\[:({'|'.join(_CLASSES)}):]"
    r"|(?!\[:[^]]{0,255}:])(\\.|[^\\])(?:-(\\.|[^]\\])|(?!-[^]])))"
)
_PART = re.compile(  # of a rule, without a name if it is one character
    r"(?P<folders>(?<![^/])(?:\*\*+/)+)"
    r"|(?P<rest>(?<![^/])\*\*+(?=\\/|\Z))"
    r"|(?P<name>\*+)"
    r"|(?P<any>\?)"
    rf"|\[(?P<not>[!^]|(?![!^]))(?P<set>{_ITEM.pattern}(?:(?!]){_ITEM.pattern})*)]"
    r"|\\.|[^\\[]"
    r"|(?P<never>.)"
)


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


class _State(NamedTuple):
    """A place in a rule, which a path reaches with the characters before it."""

    steps: str  # characters behind which the next state is reached
    stays: str = ""  # behind these, this one too
    passes: str = ""  # before these, the next one is reached with this one


class IgnoreRules:
    """Rules of an ignore file, as an automaton: each state is a bit of an integer.

    A path takes at most its length times that of the file.
    git compares bytes: here, each is a character.
    """

    def __init__(self, folder: str, lines: Iterable[str]) -> None:
        """`folder` is where the file is, such as `src/`."""
        self._folder = folder
        self._states = [_State("")]  # of no rule
        self._ends = 1  # the last states of all rules
        self._ends_of_files = 0  # without those of rules for folders alone
        self._ends_of_kept = 0  # those of rules with `!`
        self._masks: dict[str, list[int]] = {}  # a bit for each state, by character
        for line in lines:
            self._add(os.fsencode(line.removesuffix("\r")).decode("latin-1"))

    def ignores(self, path: str, *, is_folder: bool) -> bool | None:
        """None if no rule is about the path.

        All in an ignored folder is ignored, so the folder must be asked about first.
        """
        reached = self._ends << 1  # the first state of each rule
        for char in os.fsencode(f"/{path[len(self._folder) :]}").decode("latin-1"):
            if char not in self._masks:
                self._masks[char] = [
                    int("".join("01"[char in chars] for chars in column), 2)
                    for column in zip(*reversed(self._states), strict=True)
                ]
            steps, stays, passes = self._masks[char]
            entered = (reached & steps) << 1
            reached = reached & stays | entered | (entered & passes) << 1
        ended = reached & (self._ends if is_folder else self._ends_of_files)
        last = 1 << ended.bit_length() >> 1  # the last rule that fits decides
        return not last & self._ends_of_kept if last else None

    def _add(self, line: str) -> None:
        """See https://git-scm.com/docs/gitignore."""
        rule = line.rstrip(" ")
        is_escaped = (len(rule) - len(rule.rstrip("\\"))) % 2 == 1
        if is_escaped and len(rule) < len(line):
            rule += " "
        is_kept = rule.startswith("!")
        rule = rule.removeprefix("!")
        is_of_folders = rule.endswith("/")
        rule = rule.removesuffix("/")
        if not rule or line.startswith("#"):
            return
        rule = f"/{rule.removeprefix('/')}" if "/" in rule else f"/**/{rule}"
        plain = re.split(r"[*?[\\]", rule, maxsplit=1)[0]
        states = [_State(char) for char in plain]
        stays = ""
        for part in _PART.finditer(rule, len(plain)):
            match part.lastgroup:
                case "never":
                    return
                case "folders":
                    states.append(_State("/", _ALL, _ALL))
                case "rest":
                    stays = _ALL
                case "name":
                    stays = _NAME
                case kind:
                    chars = part[0][-1]
                    if kind == "any":
                        chars = _NAME
                    elif kind == "set":
                        found = _chars(part["set"])
                        chars = "".join(c for c in _NAME if (c in found) is not bool(part["not"]))
                    states.append(_State(chars, stays))
                    stays = ""
        self._states += [*states, _State("", stays)]
        end = 1 << len(self._states) - 1
        self._ends |= end
        self._ends_of_files |= 0 if is_of_folders else end
        self._ends_of_kept |= end if is_kept else 0


def _chars(items: str) -> set[str]:
    chars = set[str]()
    for name, first, last in _ITEM.findall(items):
        if name:
            chars |= _chars(_CLASSES[name])
        else:
            chars |= {first[-1], *map(chr, range(ord(first[-1]), ord(last[-1:] or "\0") + 1))}
    return chars
