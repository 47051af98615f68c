"""Colour codes of a frame, written only where they change.

Textual resets all colours behind each piece of text and sets them again before the next one. In a
frame of an answer that streams, three bytes of four are colour codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

_CODE = re.compile(r"\x1b\[([\d;]*)m")
_DRAWS_NOTHING = re.compile(r"(?:\x1b\[[\d;?]*[Hhl])*")  # moves of the cursor, and modes
_NEXT_ROW = re.compile(r"(?<=\x1b\[0m)(\n?\x1b\[\d+;\d+H)")
_STRINGS = re.compile(r"\x1b[P_^X]")  # begin images and the like, whose bytes stay as they are
_FOREGROUND = frozenset(map(str, (*range(30, 40), *range(90, 98))))
_BACKGROUND = frozenset(map(str, (*range(40, 50), *range(100, 108))))
_EXTENDED_PARTS = {"2": 5, "5": 3}  # numbers in `38;2;RED;GREEN;BLUE` and in `38;5;COLOUR`
_MOST_KNOWN = 8192  # codes, and pairs of codes


class CellStyle(Struct, frozen=True):
    """Colours and attributes, as the codes that set them; empty for the terminal's own."""

    foreground: str = ""
    background: str = ""
    attributes: frozenset[str] = frozenset()


_PLAIN = CellStyle()


def rows_of(text: str) -> list[str]:
    """Return the rows of a frame and the moves between them; each begins without colours."""
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
        wanted = _style_after(wanted, code)
    drawn.append(_change(shown, _PLAIN))
    return "".join(drawn)


@lru_cache(_MOST_KNOWN)
def _style_after(style: CellStyle, code: str) -> CellStyle:
    """Return the style after a code; one without numbers resets it."""
    for setting in _settings_of(code):
        number = setting.partition(";")[0]
        if number in ("", "0"):
            style = _PLAIN
        elif number in _FOREGROUND:
            style = replace(style, foreground=setting)
        elif number in _BACKGROUND:
            style = replace(style, background=setting)
        else:
            style = replace(style, attributes=style.attributes | {setting})
    return style


def _settings_of(code: str) -> Iterator[str]:
    """Yield the numbers of a code, those of an extended colour together."""
    numbers = code.split(";")
    while numbers:
        size = 1
        if numbers[0] in ("38", "48") and len(numbers) > 1:
            size = _EXTENDED_PARTS.get(numbers[1], 1)
        yield ";".join(numbers[:size])
        del numbers[:size]


@lru_cache(_MOST_KNOWN)
def _change(shown: CellStyle, wanted: CellStyle) -> str:
    """Return the code that turns one style into another; empty if they are the same."""
    if shown == wanted:
        return ""
    codes: list[str] = []
    if shown.attributes - wanted.attributes or wanted == _PLAIN:
        shown = _PLAIN
        codes.append("0")
    codes += sorted(wanted.attributes - shown.attributes, key=int)
    if wanted.foreground != shown.foreground:
        codes.append(wanted.foreground or "39")
    if wanted.background != shown.background:
        codes.append(wanted.background or "49")
    return f"\x1b[{';'.join(codes)}m"
