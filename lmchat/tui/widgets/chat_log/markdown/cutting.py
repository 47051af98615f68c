"""Where a giant paragraph is cut, so that nobody sees it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

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


def cut_place(text: str) -> tuple[int, bool]:
    """Return where the first piece of a paragraph ends, and whether its rest begins with a letter.

    Only its first `PIECE_CHARS` characters decide, however much of it is there. A place where no bold
    words and no link are torn apart is better than a later one.
    """
    window = text[: PIECE_CHARS + 1]
    for pattern in (_LINE, _WORD, _LETTER):
        places = [match.end() for match in pattern.finditer(window, PIECE_CHARS // 2)]
        places = [place for place in places if place <= PIECE_CHARS and not _is_inner(window, place)]
        if places:
            whole = list(_looks(window))
            places = [place for place in places[-_MOST_PLACES:] if _is_outside(window[:place])] or places
            for place in places[: -1 - _TRIES : -1]:
                if whole == list(_joined(window[:place], window[place:])):
                    return place, True
            return places[-1], True
    place = PIECE_CHARS
    while place > PIECE_CHARS - _MAX_CLUSTER and _is_inner(window, place):
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


def _looks(text: str) -> Iterator[tuple[str, str]]:
    """Yield each character of a paragraph with what makes its style."""
    stack = [""]
    for token in parse_inline(text, {}):
        if token.nesting == 1:
            stack.append(f"{stack[-1]} {token.type}")
        elif token.nesting == -1:
            stack.pop()
        else:
            look = stack[-1] if token.type in ("text", "softbreak") else f"{stack[-1]} {token.type}"
            for char in token.content or token.type:
                yield char, look


def _joined(first: str, second: str) -> Iterator[tuple[str, str]]:
    yield from _looks(first)
    yield from _looks(second)
