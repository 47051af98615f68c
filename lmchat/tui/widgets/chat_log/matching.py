"""Matching of words whatever their case and however their accents are written.

`folded` brings texts into one form. A needle is a folded word that is searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from lmchat.cells import graphemes
from lmchat.markdown.commonmark import unescaped
from lmchat.matching import normalized
from lmchat.safe_text import safe_text

MAX_CHARS = 1_000  # longer words were pasted by mistake; only the beginning is searched
_SELECTORS = "[\ufe00-\ufe0f]"  # they choose between two looks of a character
# `](address "title")` behind the words of a link; the address may have one level of brackets
_TARGET = r"\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)"
_CODE_OR_TARGET = rf"(`[^`\n\x01]*`)|{_TARGET}"  # 1 is code within a line
_MARKUP = "*_`~\\[]<>"  # signs that are not shown where they are markup
_FENCE = "```"
_LINE_END = "\x01"  # replaces a line end while blanks are made alike: no hit crosses it

Range = tuple[int, int]  # first character, and the one after the last


def folded(text: str) -> str:
    """Return text in a form that is the same for each case and each way to write an accent.

    The four letters i of Turkish become one: only then is each found in the other case. Signs that
    choose between two looks of a character are removed.
    """
    if text.isascii():
        return text.lower()
    text = normalized("NFC", text).replace("\u0130", "i").casefold().replace("\u0131", "i")
    return re.sub(_SELECTORS, "", text) if "\ufe0f" in text or "\ufe0e" in text else text


class Query:
    """A search for any of some words.

    `count` estimates the hits in a source, which is fast; `spans` finds them in a shown text.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.needles = _needles(words)  # folded, the longest first
        letters = "".join(self.needles)
        self._has_blank = " " in letters
        # then the targets of links, or the fences, may be what is searched: they are not removed
        self._has_targets = not {"[", "]", "(", ")"}.isdisjoint(letters)
        self._has_ticks = "`" in letters
        self._hidden_marks = ""  # markup that may be between letters of a hit
        has_several_letters = any(len(needle) > 1 for needle in self.needles)
        if has_several_letters:
            self._hidden_marks = "".join(mark for mark in _MARKUP if mark not in letters)
        # the first is for shown text, the second tells which sources cannot have a hit
        self._pattern = re.compile("|".join(map(_shown_pattern, self.needles)))
        self._prefilter = re.compile("|".join(map(self._prefilter_pattern, self.needles)))

    def _prefilter_pattern(self, needle: str) -> str:
        """Return a pattern of a needle that also matches with markup between its letters.

        It may match where no hit is: it only excludes texts. Blanks are matched as a part of the
        markup: with a blank between two such gaps, a run of blanks would take quadratic time.
        """
        gap = f"(?:{_TARGET}|[\\s{re.escape(self._hidden_marks)}])*"
        return gap.join(map(re.escape, needle.replace(" ", "")))

    def count(self, source: str, *, is_plain: bool = False) -> int:
        """Return how many hits a Markdown source is likely to show.

        Code in fences is searched as it is, other text without its markup. With `is_plain`, the
        source is plain text, which is searched as it is.
        """
        text = folded(source)
        # excludes most texts at once; only entities, as `&auml;`, hide letters from the pattern
        may_match = "&" in text or self._prefilter.search(text)
        if not may_match:
            return 0
        if is_plain:
            return self._count_needles(self._with_one_blank(text))

        # a needle with a backtick is searched in the text as a whole
        parts = [text] if self._has_ticks else text.split(_FENCE)
        outside_fences = parts[::2]
        fences = []
        for part in parts[1::2]:  # every second part is between two fence marks
            language, line_end, code_lines = part.partition("\n")
            # in one line, it is code with three backticks, and has no language
            fences.append(code_lines if line_end else language)
        # no hit crosses the "\0" between two parts
        prose = self._with_one_blank("\0".join(outside_fences))
        code = self._with_one_blank("\0".join(fences))
        return self._count_needles(self._without_markup(prose)) + self._count_needles(code)

    def _count_needles(self, text: str) -> int:
        return sum(map(text.count, self.needles))

    def _with_one_blank(self, text: str) -> str:
        """Return text with one blank for each run of blanks, and `_LINE_END` for each line end.

        Blanks at both ends are removed. If no needle has a blank, return the text as it is.
        """
        if not self._has_blank:
            return text
        return " ".join(text.replace("\n", _LINE_END).split())

    def _without_markup(self, text: str) -> str:
        """Return folded Markdown as it is likely shown.

        Targets of links and `_hidden_marks` are removed, and entities become their characters.
        """
        if "](" in text and not self._has_targets:
            pattern = _CODE_OR_TARGET if "`" in text else _TARGET
            text = re.sub(pattern, _kept_of_markup, text)
        for mark in self._hidden_marks:
            text = text.replace(mark, "")
        return self._with_one_blank(unescaped(text)) if "&" in text else text

    def spans(self, text: str) -> Iterator[Range]:
        """Yield the range of each hit in a text as it is shown.

        No hit begins or ends within a drawn character: of `é`, the letter `e` is no hit.
        """
        if not self.needles:
            return
        if text.isascii():
            yield from (match.span() for match in self._pattern.finditer(text.lower()))
            return
        letters, places = _with_places(text)
        match = self._pattern.search(letters)
        while match:
            start, end = match.span()
            next_start = end
            if start in places and end in places:
                yield places[start], places[end]
            else:  # it splits a character: continue with the next letter
                next_start = start + 1
            match = self._pattern.search(letters, next_start)


def _needles(words: Iterable[str]) -> list[str]:
    """Return the folded words, the longest first, without those that a longer one contains.

    Hits of a word within another word would be counted twice.
    """
    needles: list[str] = []
    folded_words = {re.sub(r"\s+", " ", folded(safe_text(word[:MAX_CHARS]))) for word in words}
    for needle in sorted(folded_words, key=len, reverse=True):
        if needle and not any(needle in longer for longer in needles):
            needles.append(needle)
    return needles


def _shown_pattern(needle: str) -> str:
    """Return the pattern of a needle in shown text, where a blank matches any run of blanks."""
    pattern = r"\s+".join(map(re.escape, needle.split(" ")))
    if not needle.startswith(" "):
        return pattern
    # a run of blanks matches from its first blank only: the time stays linear
    return rf"(?<!\s){pattern}"


def _kept_of_markup(match: re.Match[str]) -> str:
    """Return what replaces a match of `_CODE_OR_TARGET` or `_TARGET`.

    Code stays as it is. Of the target of a link, the bracket after the link's words stays.
    """
    code = match[1] if match.lastindex else None  # only `_CODE_OR_TARGET` has a group: code
    return "]" if code is None else code


def _with_places(text: str) -> tuple[str, dict[int, int]]:
    """Return folded text, and the place in `text` for each of its places between two characters.

    The keys of the dictionary are places in the folded text, the values are those in `text`.
    """
    bounds = [*(start for start, _ in graphemes(text)), len(text)]
    letters = [folded(text[start:end]) for start, end in pairwise(bounds)]
    places = {0: 0}
    folded_end = 0
    for end, letter in zip(bounds[1:], letters, strict=True):
        folded_end += len(letter)
        places[folded_end] = end
    return "".join(letters), places
