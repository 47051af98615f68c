"""Colour codes of a frame, written only where they change.

Textual resets all colours behind each piece of text and sets them again before the next one. In a frame of
an answer that streams, three bytes of four are colour codes.
"""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

_CODE = re.compile(r"\x1b\[([\d;]*)m")
_DRAWS_NOTHING = re.compile(r"(?:\x1b\[[\d;?]*[Hhl])*")  # moves of the cursor, and modes
_NEXT_ROW = re.compile(r"(?<=\x1b\[0m)(\n?\x1b\[\d+;\d+H)")
_STRINGS = re.compile(r"\x1b[P_^X]")  # begin images and the like, whose bytes stay as they are
_FOREGROUND = frozenset(map(str, (*range(30, 40), *range(90, 98))))
_BACKGROUND = frozenset(map(str, (*range(40, 50), *range(100, 108))))
_EXTENDED_PARTS = {"2": 5, "5": 3}  # numbers in `38;2;RED;GREEN;BLUE` and in `38;5;COLOUR`
_MOST_KNOWN = 8192  # codes, and pairs of codes


class Look(Struct, frozen=True):
    """Colours and attributes, as the codes that set them; empty for the terminal's own."""

    foreground: str = ""
    background: str = ""
    attributes: frozenset[str] = frozenset()


_PLAIN = Look()


def rows_of(text: str) -> list[str]:
    """Return the rows of a frame and, between them, the moves to them; each begins without colours."""
    return [text] if _STRINGS.search(text) else _NEXT_ROW.split(text)


def with_changed_colours(text: str) -> str:
    """Return output that draws the same; colours must be the terminal's own before it."""
    if _STRINGS.search(text):
        return text
    drawn: list[str] = []
    shown = wanted = _PLAIN
    parts = _CODE.split(text)
    for output, code in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if output:
            if shown is not wanted and not _DRAWS_NOTHING.fullmatch(output):
                drawn.append(_change(shown, wanted))
                shown = wanted
            drawn.append(output)
        wanted = _look_after(wanted, code)
    drawn.append(_change(shown, _PLAIN))
    return "".join(drawn)


@lru_cache(_MOST_KNOWN)
def _look_after(look: Look, code: str) -> Look:
    """Return the look after a code; one without numbers resets it."""
    foreground, background, attributes = look.foreground, look.background, look.attributes
    numbers = code.split(";")
    place = 0
    while place < len(numbers):
        number = numbers[place]
        following = numbers[place + 1] if place + 1 < len(numbers) else ""
        size = _EXTENDED_PARTS.get(following, 1) if number in ("38", "48") else 1
        setting = ";".join(numbers[place : place + size])
        if number in ("", "0"):
            foreground, background, attributes = "", "", frozenset()
        elif number in _FOREGROUND:
            foreground = setting
        elif number in _BACKGROUND:
            background = setting
        else:
            attributes |= {setting}
        place += size
    return Look(foreground, background, attributes)


@lru_cache(_MOST_KNOWN)
def _change(shown: Look, wanted: Look) -> str:
    """Return the code that turns one look into another; empty if they are the same."""
    if shown == wanted:
        return ""
    if shown.attributes - wanted.attributes or wanted == _PLAIN:
        shown, codes = _PLAIN, ["0"]
    else:
        codes = []
    codes += sorted(wanted.attributes - shown.attributes, key=int)
    if wanted.foreground != shown.foreground:
        codes.append(wanted.foreground or "39")
    if wanted.background != shown.background:
        codes.append(wanted.background or "49")
    return f"\x1b[{';'.join(codes)}m"
