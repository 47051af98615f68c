"""Where a text may be broken into lines: between words, between ideographs, never inside a grapheme."""

from __future__ import annotations

import re
from functools import cache

from rich.cells import cell_len

from lmchat.text import graphemes

_SINGLE = "[\x20-\x7e\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0482\u2010-\u2027\u2030-\u205e]*"
"""What is one cell wide, and no mark on the letter before it."""
_IDEOGRAPHS = (
    "\u2e80-\u2fff\u3003-\u3007\u3012\u3013\u3020-\u30fe\u3105-\u312f\u31a0-\u9fff\ua000-\ua4cf"
    "\uf900-\ufaff\uff00-\uff9f\uffe0-\uffef\U0001f200-\U0001f2ff\U00020000-\U0003fffd"
)
"""Chinese and Japanese letters, between which a line may end; Korean words stay whole."""
_OPENING = (
    "\u2018\u201c\u3008\u300a\u300c\u300e\u3010\u3014\u3016\u3018\u301a\u301d"
    "\uff08\uff3b\uff5b\uff5f\uff62(\\[{"
)
"""What may not end a line."""
_CLOSING = (
    "\u2019\u201d\u2014\u2026\u2025\u00b7\u3001\u3002\u3005\u3009\u300b\u300d\u300f\u3011\u3015\u3017\u3019\u301b"
    "\u301e\u301f\u303b\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087\u308e\u3095\u3096\u3099-\u309e"
    "\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30ee\u30f5\u30f6\u30fb-\u30fe\u31f0-\u31ff"
    "\uff01\uff05\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d\uff5d\uff60\uff61\uff63-\uff65\uff67-\uff70\uff9e\uff9f"
    ")\\]},.!?:;%\u2030\u2103"
)
"""What may not begin a line: it stays with the ideograph before it."""
_MARKS = "\u0300-\u036f\u20d0-\u20ff\u302a-\u302f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_BLANKS = " \u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u205f\u3000"
"""Blanks at which a line may end; those that hold two words together are not among them."""
_IDEOGRAPH = f"[{_IDEOGRAPHS}]"
_WORD = f"[{_BLANKS}]*[^{_BLANKS}]+[{_BLANKS}]*"
_ATOM = (
    f"[{_BLANKS}]*(?:[{_OPENING}]*"
    f"(?:(?![{_OPENING}{_CLOSING}])[{_IDEOGRAPHS}][{_MARKS}]*|[^{_BLANKS}{_IDEOGRAPHS}]*[^{_BLANKS}{_IDEOGRAPHS}{_OPENING}])"
    f"[{_CLOSING}]*|[{_OPENING}{_CLOSING}]+)[{_BLANKS}]*"
)
"""What stays together where there are ideographs: one of them, or a word, with its brackets and stops."""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile what text in English never needs, when it is needed: 5 ms of each start."""
    return re.compile(pattern)


def _is_single(text: str) -> bool:
    """Whether each character takes one cell."""
    return (text.isascii() and text.isprintable()) or _compiled(_SINGLE).fullmatch(text) is not None


def wrap_points(text: str, width: int) -> list[int]:
    """Return the characters at which lines begin, except the first; only a word that no line holds is cut.

    Blanks at which a line ends stay at its end, also where there is no room for them.
    """
    if _is_single(text):
        return _points_by_count(text, width)
    return _points_by_cells(text, width)


def _points_by_count(text: str, width: int) -> list[int]:
    """Break a text of which each character takes one cell."""
    points: list[int] = []
    start, first = 0, len(text) - len(text.lstrip(" "))
    end = len(text.rstrip(" "))
    while end - start > width:
        blank = text.rfind(" ", max(start, first), start + width + 1)
        start = start + width if blank < 0 else _behind_blanks(text, blank)
        points.append(start)
    return points


def _behind_blanks(text: str, place: int) -> int:
    while text[place] == " ":
        place += 1
    return place


def _points_by_cells(text: str, width: int) -> list[int]:
    """Break a text by the cells that its graphemes take."""
    points: list[int] = []
    used = 0
    pattern = _ATOM if _compiled(_IDEOGRAPH).search(text) else _WORD
    for match in _compiled(pattern).finditer(text):
        start, word = match.start(), match[0].rstrip(_BLANKS)
        size = cell_len(word)
        if used + size > width:
            if used:
                points.append(start)
            used = 0
            if size > width:
                cuts = cuts_in(word, width)
                points += [start + cut for cut in cuts]
                size = cell_len(word[max(cuts, default=0) :])
        used += size + cell_len(match[0][len(word) :])
    return points


def cuts_in(text: str, width: int, rest_width: int = 0) -> list[int]:
    """Return where a text is cut that has no better place; lines but the first may have another width."""
    if _is_single(text):
        return list(range(width, len(text), rest_width or width))
    points: list[int] = []
    used = 0
    for start, size in graphemes(text):
        if used + size > width and start:
            points.append(start)
            used, width = 0, rest_width or width
        used += size
    return points
