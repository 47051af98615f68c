"""Matching of words whatever their case and however their accents are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from lmchat.text import graphemes, normalized, safe_text, unescaped

Range = tuple[int, int]  # first character, and the one after the last
MAX_CHARS = 1_000  # longer words were pasted by mistake; only the beginning is searched
_SELECTORS = re.compile("[\ufe00-\ufe0f]")
_TARGET = re.compile(r"\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)")
_CODE_OR_TARGET = re.compile(rf"(`[^`\n\x01]*`)|{_TARGET.pattern}")
_MARKUP = "*_`~\\[]<>"
_FENCE = "```"
_LINE_END = "\x01"  # while blanks are made alike: no hit goes over it


def folded(text: str) -> str:
    """Return text in which what a reader takes for the same is the same.

    The four letters i of Turkish become one: only then is each found in the other case. A sign that chooses
    between two looks of a character goes.
    """
    if text.isascii():
        return text.lower()
    text = normalized("NFC", text).replace("\u0130", "i").casefold().replace("\u0131", "i")
    return _SELECTORS.sub("", text) if "\ufe0f" in text or "\ufe0e" in text else text


def _keep_code(found: re.Match[str]) -> str:
    return found[1] or "]"  # what looks like an address is shown in code


def _shown_pattern(needle: str) -> str:
    """Return a pattern in which a blank stands for any blanks."""
    pattern = r"\s+".join(map(re.escape, needle.split(" ")))
    # the blanks that a needle begins with are not looked through again from each of them
    return rf"(?<!\s){pattern}" if needle.startswith(" ") else pattern


class Query:
    """A search for any of some words, as they are shown."""

    def __init__(self, words: Iterable[str]) -> None:
        wanted = {re.sub(r"\s+", " ", folded(safe_text(word[:MAX_CHARS]))) for word in words} - {""}
        # what is within another word would be counted twice
        alone = [
            word for word in wanted if not any(word in other and word != other for other in wanted)
        ]
        self.needles = sorted(alone, key=len, reverse=True)  # folded, the longest first
        self._pattern = re.compile("|".join(map(_shown_pattern, self.needles)))
        together = "".join(self.needles)
        self._has_blank = " " in together
        is_short = max(map(len, self.needles), default=0) < 2  # noqa: PLR2004 - nothing can be within one letter
        self._marks = "" if is_short else "".join(mark for mark in _MARKUP if mark not in together)
        self._has_targets = not {"[", "]", "(", ")"}.isdisjoint(together)
        self._has_ticks = "`" in together
        # a needle with the markup that may be between two of its letters, and is not shown; blanks are a part
        # of it: one between two gaps could be any of a run of blanks, which takes quadratic time
        gap = f"(?:{_TARGET.pattern}|[\\s{re.escape(self._marks)}])*"
        letters = (needle.replace(" ", "") for needle in self.needles)
        self._loose = re.compile("|".join(gap.join(map(re.escape, word)) for word in letters))

    def count(self, source: str, *, is_plain: bool = False) -> int:
        """Return how many hits Markdown, or plain text, is likely to show; nothing is laid out."""
        text = folded(source)
        if not ("&" in text or self._loose.search(text)):
            return 0  # quick for most texts; only entities hide letters
        if is_plain:
            return self._sum(self._with_one_blank(text))
        parts = (
            [text] if self._has_ticks else text.split(_FENCE)
        )  # each second one is code as it is shown
        code = "\0".join(part.partition("\n")[2] if "\n" in part else part for part in parts[1::2])
        prose = self._with_one_blank("\0".join(parts[::2]))
        return self._sum(self._shown(prose, is_exact=True)) + self._sum(self._with_one_blank(code))

    def _sum(self, text: str) -> int:
        return sum(map(text.count, self.needles))

    def _with_one_blank(self, text: str) -> str:
        """Make blanks alike, if they matter."""
        return " ".join(text.replace("\n", _LINE_END).split()) if self._has_blank else text

    def _shown(self, text: str, *, is_exact: bool = False) -> str:
        """Remove markup that is not shown from folded Markdown."""
        if "](" in text and not self._has_targets:
            text = (
                _CODE_OR_TARGET.sub(_keep_code, text)
                if is_exact and "`" in text
                else _TARGET.sub("]", text)
            )
        for mark in self._marks:
            text = text.replace(mark, "")
        if "&" in text:
            text = self._with_one_blank(unescaped(text))
        return text

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


def _with_places(text: str) -> tuple[str, dict[int, int]]:
    """Return folded text, and where each of its characters is in the text."""
    starts = [*(start for start, _ in graphemes(text)), len(text)]
    letters = [folded(text[start:end]) for start, end in pairwise(starts)]
    places, at = {0: 0}, 0
    for start, letter in zip(starts[1:], letters, strict=True):
        at += len(letter)
        places[at] = start
    return "".join(letters), places
