"""Steps of the cursor in a line: by graphemes, and by words."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

from lmchat.app.cells import graphemes

_SEEN_CHARS = 1000  # of a line on each side of the cursor, so that a long line costs no more
_BLANK, _SIGN = "blank", "sign"
_IDEOGRAPH = "CJK"  # the script is the first word of a letter's name in Unicode


def step(line: str, column: int, direction: int) -> int:
    """Return the column one grapheme to the left (`direction` -1) or right (1)."""
    if direction < 0:
        before = line[max(0, column - _SEEN_CHARS) : column]
        last = [start for start, _ in graphemes(before)][-1:]
        return column - len(before) + last[0] if last else 0
    behind = line[column : column + _SEEN_CHARS]
    starts = [start for start, _ in graphemes(behind)][1:2]
    return column + (starts[0] if starts else len(behind))


def word_step(line: str, column: int, direction: int) -> int:
    """Return the column where a word starts to the left (`direction` -1), or ends to the right (1).

    A word is a run of letters and figures of one script, a run of signs, or one ideograph.
    """
    if direction < 0:
        before = line[max(0, column - _SEEN_CHARS) : column]
        words = _words(before)
        return column - len(before) + (words[-1][0] if words else 0)
    behind = line[column : column + _SEEN_CHARS]
    words = _words(behind)
    return column + (words[0][1] if words else len(behind))


def _words(line: str) -> list[tuple[int, int]]:
    words: list[tuple[int, int]] = []
    bounds = [*(start for start, _ in graphemes(line)), len(line)]
    before = _BLANK  # of the word so far
    for start, end in pairwise(bounds):
        kind = _kind(line[start])
        if kind == _BLANK:
            before = kind
        elif words and _is_more(before, kind, line[start]):
            words[-1] = (words[-1][0], end)
            before = before or kind  # of the letters behind a figure
        else:
            words.append((start, end))
            before = kind
    return words


def _is_more(before: str, kind: str, char: str) -> bool:
    if _BLANK in (before, kind) or (_SIGN in (before, kind) and before != kind):
        return False
    if unicodedata.category(char) == "Lm":  # repeats or prolongs a letter, as in 人々
        return True
    return _IDEOGRAPH not in (before, kind) and (before == kind or "" in (before, kind))


def _kind(char: str) -> str:
    """Return the script of a letter, "" for a figure, `_SIGN` or `_BLANK`."""
    category = unicodedata.category(char)
    if category[0] in "ZC":
        return _BLANK
    if category[0] in "PS" and char != "_":
        return _SIGN
    if category[0] in "NM" or category == "Lm" or char == "_":
        return ""
    return unicodedata.name(char, "").partition(" ")[0]
