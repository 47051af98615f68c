"""Steps of the cursor in a line: by graphemes, and by words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

from lmchat.app.cells import graphemes

_SEEN_CHARS = 1000  # of a line on each side of the cursor, so that a long line costs no more
_BLANK = "blank"
_SIGN = "sign"
_IDEOGRAPH = "CJK"  # the script is the first word of a letter's name in Unicode


def step(line: str, column: int, direction: int, *, by_words: bool = False) -> int:
    """Return the column one grapheme to the left (`direction` -1) or right (1).

    With `by_words`, it is where a word starts to the left, or ends to the right. A word is a run of
    letters and figures of one script, a run of signs, or one ideograph.
    """
    parts: Callable[[str], Iterable[tuple[int, ...]]] = _words if by_words else graphemes
    if direction < 0:
        before = line[max(0, column - _SEEN_CHARS) : column]
        found = [*parts(before)]
        return column - len(before) + (found[-1][0] if found else 0)
    behind = line[column : column + _SEEN_CHARS]
    found = [*parts(behind)]
    return column + (found[0][1] if found else len(behind))


def _words(line: str) -> list[tuple[int, int]]:
    words: list[tuple[int, int]] = []
    before = _BLANK  # of the word so far
    for start, end, _ in graphemes(line):
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
