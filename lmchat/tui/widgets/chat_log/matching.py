"""Letters as a search compares them: whatever their case, and however their accents are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from unicodedata import category, normalize

from lmchat.text import safe_text

Range = tuple[int, int]
"""First character, and the one behind the last."""
MAX_CHARS = 1_000
"""Longer words were pasted by mistake; only the beginning is searched."""
_SELECTORS = re.compile("[\ufe00-\ufe0f]")
_JOINER = "\u200d"
_JAMO = "\u1160", "\u11ff"
_TONES = "\U0001f3fb", "\U0001f3ff"
_TARGET = re.compile(r"\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)")
"""Where a link leads, which is not shown."""
_TARGET_OR_CODE = re.compile(r"`[^`\n\x01]*`|" + _TARGET.pattern)
"""In code it is shown."""
_MARKUP = "*_`~\\[]<>"
_LAST_ALONE = "\u02ff"
"""Up to here no character belongs to the one before it."""
_BLANKS = re.compile(r"\s+")
_INFO = re.compile(r"^([ \t>]*(?:[-*+]|\d+[.)])?[ \t]*~~~+)[^\n]+", re.MULTILINE)
"""A fence, and the words behind it, which are not looked through."""
_FENCE = "```"
_LINE_END = "\x01"
"""Stands for the end of a line while blanks are made alike: no hit goes over it."""


def folded(text: str) -> str:
    """Return text in which what a reader takes for the same is the same.

    The four letters i of Turkish become one: only then is each found in the other case. A sign that chooses
    between two looks of a character goes.
    """
    if text.isascii():
        return text.lower()
    text = normalize("NFC", text).replace("\u0130", "i").casefold().replace("\u0131", "i")
    return _SELECTORS.sub("", text) if "\ufe0f" in text or "\ufe0e" in text else text


class Query:
    """A search for any of some words, as they are shown."""

    def __init__(self, words: Iterable[str]) -> None:
        self.needles = _apart(words)
        """Folded, the longest first."""
        parts = (r"\s+".join(map(re.escape, re.split(r"\s+", needle))) for needle in self.needles)
        self._pattern = re.compile("|".join(parts))
        together = "".join(self.needles)
        self._has_blank = any(char.isspace() for char in together)
        is_short = max(map(len, self.needles), default=0) < 2  # noqa: PLR2004 - nothing can stand within one letter
        self._marks = "" if is_short else "".join(mark for mark in _MARKUP if mark not in together)
        self._has_targets = not {"[", "]", "(", ")"}.isdisjoint(together)
        self._has_ticks = "`" in together

    def count(self, source: str, *, is_plain: bool = False) -> int:
        """Return how many hits Markdown, or plain text, is likely to show; it is not laid out for that."""
        text = folded(source)
        if is_plain:
            return self._sum(self._with_one_blank(text))
        prose, code = (text, "") if self._has_ticks else _divided(text)
        prose, code = self._with_one_blank(prose), self._with_one_blank(code)
        likely = self._sum(self._shown(prose))
        if not likely and "`" in prose and self._sum(prose):
            likely = self._sum(self._shown(prose, is_careful=True))
        return likely + self._sum(code)

    def may_be_in(self, source: str) -> bool:
        """Whether anything is found in a source, or in what it is likely to show."""
        text = self._with_one_blank(folded(source))
        return self._sum(text) > 0 or self._sum(self._shown(text)) > 0

    def _sum(self, text: str) -> int:
        return sum(map(text.count, self.needles))

    def _with_one_blank(self, text: str) -> str:
        """Return text with its blanks made alike, if they matter."""
        return " ".join(text.replace("\n", _LINE_END).split()) if self._has_blank else text

    def _shown(self, text: str, *, is_careful: bool = False) -> str:
        """Return folded Markdown without what is not shown of it."""
        if "](" in text and not self._has_targets:
            text = _TARGET_OR_CODE.sub(_without_target, text) if is_careful else _TARGET.sub("]", text)
        for mark in self._marks:
            text = text.replace(mark, "")
        if "&" in text:
            from html import unescape

            text = self._with_one_blank(unescape(text))
        return text

    def spans(self, text: str) -> Iterator[Range]:
        """Yield where the hits stand in a text as it is shown; none begins or ends within a character."""
        if not self.needles:
            return
        if text.isascii():
            yield from (match.span() for match in self._pattern.finditer(text.lower()))
            return
        letters, places = _with_places(text)
        match = self._pattern.search(letters)
        while match:
            first, last = match.span()
            if first in places and last in places:
                yield places[first], places[last]
            else:
                last = first + 1
            match = self._pattern.search(letters, last)


def _divided(text: str) -> tuple[str, str]:
    """Return Markdown without its fences, and the code in them, whose markup is shown."""
    if "~~~" in text:
        text = _INFO.sub(r"\1", text)
    if _FENCE not in text:
        return text, ""
    parts = text.split(_FENCE)
    code = (part.partition("\n")[2] if "\n" in part else part for part in parts[1::2])
    return "\0".join(parts[::2]), "\0".join(code)


def _without_target(found: re.Match[str]) -> str:
    return found[0] if found[0][0] == "`" else "]"


def _with_places(text: str) -> tuple[str, dict[int, int]]:
    """Return folded text, and for each character that begins in it where it begins in the text."""
    letters: list[str] = []
    places: dict[int, int] = {}
    at = 0
    for start, end in clusters(text):
        places[at] = start
        letters.append(folded(text[start:end]))
        at += len(letters[-1])
    places[at] = len(text)
    return "".join(letters), places


def clusters(text: str) -> Iterator[Range]:
    """Yield what a search takes for one character: a letter with its accents, joined emoji.

    Less than a grapheme: in scripts of India the stem of a word is found without the vowel that follows it.
    """
    start = 0
    for place in range(1, len(text)):
        char = text[place]
        if char > _LAST_ALONE and _goes_on(text[place - 1], char):
            continue
        if text[place - 1] != _JOINER:
            yield start, place
            start = place
    if text:
        yield start, len(text)


def _goes_on(before: str, char: str) -> bool:
    """Whether a character belongs to the one before it."""
    if _JOINER in (before, char) or category(char) in ("Mn", "Me"):
        return True
    return _JAMO[0] <= char <= _JAMO[1] or _TONES[0] <= char <= _TONES[1]


def _apart(words: Iterable[str]) -> tuple[str, ...]:
    """Return words, the longest first, without those that stand in others: they would be counted twice."""
    found: list[str] = []
    wanted = {_BLANKS.sub(" ", folded(safe_text(word[:MAX_CHARS]))) for word in words if word}
    for word in sorted(wanted, key=lambda word: (-len(word), word)):
        if word and not any(word in longer for longer in found):
            found.append(word)
    return tuple(found)
