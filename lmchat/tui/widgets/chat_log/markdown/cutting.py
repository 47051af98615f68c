"""Where a giant paragraph is cut, so that nobody sees it."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain, groupby, islice
from operator import itemgetter

from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS
from lmchat.tui.widgets.chat_log.markdown.syntax import parse_inline

_LINE = re.compile(r"\n[ \t>]*(?=[^\W\d_])")
"""Between lines, which stay lines on the page."""
_WORD = re.compile(r"[ \t](?=[^\W\d_])")
"""Between words; what follows begins with a letter, so it is a paragraph again."""
_LETTER = re.compile(r"(?<=\w)(?=[^\W\d_])")
"""Within a word, as in languages that know no blanks."""
_TRIES = 3
_MOST_PLACES = 200
_MAX_CLUSTER = 64
_JOINER = "\u200d"
MOST_WEIGHT = 600
"""Signs that may be markup, and lines: what has as many before it has `PIECE_CHARS` is cut there."""
_SIGNS = "*_`~[]<<&\\$!:|"
"""What may begin markup; what may begin a link within angles counts twice."""
_LEVELS_A_LINE = 3
"""A line in as many quotes weighs as much as another line more: the parser goes over it once for each."""


def weight_of(text: str, levels: int = 0) -> int:
    """Return what parsing the text of a paragraph costs beside its characters; it grows with each character.

    `levels` are those of the quotes and lists that it is known to stand in.
    """
    lines = text.count("\n")
    quotes = max(line.count(">") for line in text.split("\n")) if lines and ">" in text else 0
    return sum(map(text.count, _SIGNS)) + lines * (1 + (levels + quotes) // _LEVELS_A_LINE)


def reach(text: str, levels: int = 0) -> int:
    """Return after how many characters a paragraph that goes on is cut: fewer than usual if it is heavy."""
    is_light = 2 * len(text) < MOST_WEIGHT and not levels and ">" not in text  # none counts more than twice
    window = text[:PIECE_CHARS]
    if is_light or weight_of(window, levels) < MOST_WEIGHT:
        return PIECE_CHARS
    return bisect_left(range(len(window)), MOST_WEIGHT, key=lambda end: weight_of(window[:end], levels))


def cut_place(text: str, levels: int = 0) -> tuple[int, bool]:
    """Return where the first piece of a paragraph ends, and whether its rest begins with a letter.

    Only the characters up to its `reach` decide, however much of it is there. A place where no bold
    words and no link are torn apart is better than a later one.
    """
    most = reach(text, levels)
    window = text[: most + 1]
    for pattern in (_LINE, _WORD, _LETTER):
        ends = [match.end() for match in pattern.finditer(window, most // 2)]
        fit = (place for place in reversed(ends) if place <= most and not _is_inner(window, place))
        places = list(islice(fit, _MOST_PLACES))
        if places:
            whole = _looks(window)
            outside = (place for place in places if _is_outside(window[:place]))
            tried = list(islice(outside, _TRIES)) or places[:_TRIES]
            for place in tried:
                if whole == _looks(window[:place], window[place:]):
                    return place, True
            return tried[0], True
    place = most
    while place > max(most - _MAX_CLUSTER, 1) and _is_inner(window, place):
        place -= 1
    return place, False


def _is_inner(text: str, place: int) -> bool:
    """Whether a place is within what is one character for a reader, or behind a backslash."""
    if text[place - 1] in (_JOINER, "\\"):
        return True
    char = text[place]
    return char == _JOINER or unicodedata.category(char)[0] == "M" or "\U0001f3fb" <= char <= "\U0001f3ff"


def _is_outside(text: str) -> bool:
    """Whether what follows a text is likely not within bold words, code or a link."""
    return not (text.count("**") % 2 or text.count("`") % 2) and text.count("[") == text.count("]")


def _looks(*texts: str) -> list[tuple[str, str]]:
    """Return the words of paragraphs one behind the other, with what makes the style of each run of them."""
    found: list[tuple[str, str]] = []
    for look, group in groupby(chain.from_iterable(map(_styled, texts)), key=itemgetter(1)):
        found.append(("".join(words for words, _ in group), look))
    return found


def _styled(text: str) -> Iterator[tuple[str, str]]:
    stack = [""]
    for token in parse_inline(text, {}):
        if token.nesting == 1:
            stack.append(f"{stack[-1]} {token.type}")
        elif token.nesting == -1:
            stack.pop()
        elif words := token.content or token.type:
            yield words, stack[-1] if token.type in ("text", "softbreak") else f"{stack[-1]} {token.type}"
