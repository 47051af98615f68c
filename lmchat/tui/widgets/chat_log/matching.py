"""Matching of words whatever their case and however their accents are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from lmchat.text import graphemes, normalized, safe_text, unescaped

MAX_CHARS = 1_000  # longer words were pasted by mistake; only the beginning is searched
_SELECTORS = "[\ufe00-\ufe0f]"
_TARGET = r"\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)"
_CODE_OR_TARGET = rf"(`[^`\n\x01]*`)|{_TARGET}"
_MARKUP = "*_`~\\[]<>"
_FENCE = "```"
_LINE_END = "\x01"  # stands for a line end while blanks are made alike: no hit goes over it

Range = tuple[int, int]  # first character, and the one after the last


def folded(text: str) -> str:
    """Return text in which what a reader takes for the same is the same.

    The four letters i of Turkish become one: only then is each found in the other case. Signs that
    choose between two looks of a character are removed.
    """
    if text.isascii():
        return text.lower()
    text = normalized("NFC", text).replace("\u0130", "i").casefold().replace("\u0131", "i")
    return re.sub(_SELECTORS, "", text) if "\ufe0f" in text or "\ufe0e" in text else text


class Query:
    """A search for any of some words, as they are shown."""

    def __init__(self, words: Iterable[str]) -> None:
        self.needles = _needles(words)  # folded, the longest first
        letters = "".join(self.needles)
        self._has_blank = " " in letters
        self._has_targets = not {"[", "]", "(", ")"}.isdisjoint(letters)
        self._has_ticks = "`" in letters
        # no markup can be within a single letter
        is_short = all(len(needle) < 2 for needle in self.needles)  # noqa: PLR2004
        self._marks = "" if is_short else "".join(mark for mark in _MARKUP if mark not in letters)
        self._pattern = re.compile("|".join(map(_shown_pattern, self.needles)))
        self._loose = re.compile("|".join(map(self._loose_pattern, self.needles)))

    def _loose_pattern(self, needle: str) -> str:
        """Return a pattern of a needle with the markup that may be between its letters.

        Blanks are a part of that markup: a blank between two gaps could match any of a run of
        blanks, which takes quadratic time.
        """
        gap = f"(?:{_TARGET}|[\\s{re.escape(self._marks)}])*"
        return gap.join(map(re.escape, needle.replace(" ", "")))

    def count(self, source: str, *, is_plain: bool = False) -> int:
        """Return how many hits Markdown, or plain text, is likely to show; nothing is laid out."""
        text = folded(source)
        # most texts are ruled out here; only entities hide letters from the pattern
        may_match = "&" in text or self._loose.search(text)
        if not may_match:
            return 0
        if is_plain:
            return self._sum(self._with_one_blank(text))

        parts = [text] if self._has_ticks else text.split(_FENCE)
        prose = self._with_one_blank("\0".join(parts[::2]))
        fences = [part.partition("\n")[2] if "\n" in part else part for part in parts[1::2]]
        code = self._with_one_blank("\0".join(fences))
        return self._sum(self._without_markup(prose)) + self._sum(code)

    def _sum(self, text: str) -> int:
        return sum(map(text.count, self.needles))

    def _with_one_blank(self, text: str) -> str:
        """Make blanks alike, if they matter."""
        return " ".join(text.replace("\n", _LINE_END).split()) if self._has_blank else text

    def _without_markup(self, text: str) -> str:
        """Remove markup that is not shown from folded Markdown."""
        if "](" in text and not self._has_targets:
            pattern = _CODE_OR_TARGET if "`" in text else _TARGET
            text = re.sub(pattern, _keep_code, text)
        for mark in self._marks:
            text = text.replace(mark, "")
        return self._with_one_blank(unescaped(text)) if "&" in text else text

    def spans(self, text: str) -> Iterator[Range]:
        """Yield the hits in a text as it is shown; none begins or ends within a character."""
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


def _needles(words: Iterable[str]) -> list[str]:
    """Return the folded words, the longest first, without those that others contain.

    Hits of a word within another word would be counted twice.
    """
    needles: list[str] = []
    found = {re.sub(r"\s+", " ", folded(safe_text(word[:MAX_CHARS]))) for word in words}
    for needle in sorted(found, key=len, reverse=True):
        if needle and not any(needle in longer for longer in needles):
            needles.append(needle)
    return needles


def _shown_pattern(needle: str) -> str:
    """Return a pattern in which a blank matches any run of blanks."""
    pattern = r"\s+".join(map(re.escape, needle.split(" ")))
    # the blanks that a needle begins with are not searched again from each of them
    return rf"(?<!\s){pattern}" if needle.startswith(" ") else pattern


def _keep_code(found: re.Match[str]) -> str:
    return found[1] if found.lastindex else "]"  # in code, what looks like an address is shown


def _with_places(text: str) -> tuple[str, dict[int, int]]:
    """Return folded text, and where each of its characters is in the text."""
    starts = [*(start for start, _ in graphemes(text)), len(text)]
    letters = [folded(text[start:end]) for start, end in pairwise(starts)]
    places = {0: 0}
    at = 0
    for start, letter in zip(starts[1:], letters, strict=True):
        at += len(letter)
        places[at] = start
    return "".join(letters), places
