"""Reduction of the colour codes in a frame to those that change something.

A frame is the text that Textual writes to the terminal for one repaint. Textual resets all colours
after each piece of text and sets them again before the next one. In a frame of a streaming answer,
three bytes of four are colour codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

# A colour code, such as `ESC [1;38;5;208m`. Its numbers are the group.
_CODE = re.compile(r"\x1b\[([\d;]*)m")
# Moves of the cursor (`ESC [3;1H`) and modes (`ESC [?25l`), which draw nothing.
_DRAWS_NOTHING = re.compile(r"(?:\x1b\[[\d;?]*[Hhl])*")
# A move of the cursor after a reset of all colours, so that the next row begins without colours.
_NEXT_ROW = re.compile(r"(?<=\x1b\[0m)(\n?\x1b\[\d+;\d+H)")
# First numbers of the settings in a code.
_FOREGROUND = frozenset(map(str, (*range(30, 40), *range(90, 98))))
_BACKGROUND = frozenset(map(str, (*range(40, 50), *range(100, 108))))
# Number of numbers in `38;2;RED;GREEN;BLUE` and in `38;5;COLOUR`, by their second number.
_EXTENDED_PARTS = {"2": 5, "5": 3}
_CACHE_SIZE = 8192  # pairs of a style and a code, and pairs of styles


class CellStyle(Struct, frozen=True):
    """Colours and attributes of text, as settings of colour codes, such as `31` or `38;5;208`.

    An empty colour is the terminal's own.
    """

    foreground: str = ""
    background: str = ""
    attributes: frozenset[str] = frozenset()


_PLAIN = CellStyle()


def rows_of(text: str) -> list[str]:
    """Return the rows of a frame, with the moves of the cursor between them as further items.

    No colours are set at the beginning of an item, so `with_changed_colours` can take each on its
    own.
    """
    return _NEXT_ROW.split(text)


def with_changed_colours(text: str) -> str:
    """Return output that draws the same as `text` with fewer colour codes.

    A code is written only before output that draws something, and only if the style has changed
    since the last such output. The terminal's own colours must be set before the output, and they
    are set after it.
    """
    written: list[str] = []
    terminal_style = _PLAIN  # set by the codes in `written`
    text_style = _PLAIN  # set by the codes in `text`
    outputs_and_codes = _CODE.split(text)  # output, code, output, …, code, output
    codes = [*outputs_and_codes[1::2], ""]
    for output, code in zip(outputs_and_codes[::2], codes, strict=True):
        if output:
            # `is not` is faster, and equal styles get an empty code below
            if terminal_style is not text_style and not _DRAWS_NOTHING.fullmatch(output):
                written.append(_code_between(terminal_style, text_style))
                terminal_style = text_style
            written.append(output)
        text_style = _style_after(text_style, code)
    written.append(_code_between(terminal_style, _PLAIN))
    return "".join(written)


@lru_cache(_CACHE_SIZE)
def _style_after(style: CellStyle, code: str) -> CellStyle:
    """Return the style that text has after a code, if it had `style` before.

    `code` holds only the numbers of the code, such as `1;38;5;208`. Without numbers, it resets the
    style.
    """
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
    """Yield the settings in the numbers of a code: `1;38;5;208` has `1` and `38;5;208`."""
    numbers = code.split(";")
    while numbers:
        count = 1  # of the numbers of the first setting
        if numbers[0] in ("38", "48") and len(numbers) > 1:  # a foreground or background of many
            count = _EXTENDED_PARTS.get(numbers[1], 1)
        yield ";".join(numbers[:count])
        del numbers[:count]


@lru_cache(_CACHE_SIZE)
def _code_between(before: CellStyle, after: CellStyle) -> str:
    """Return the code that changes the style `before` to `after`; empty if they are the same."""
    if before == after:
        return ""
    settings: list[str] = []
    removes_attributes = bool(before.attributes - after.attributes)
    # a reset is the only way to remove an attribute, and the shortest way to the plain style
    if removes_attributes or after == _PLAIN:
        before = _PLAIN
        settings.append("0")
    settings += sorted(after.attributes - before.attributes, key=int)
    if after.foreground != before.foreground:
        settings.append(after.foreground or "39")  # 39: the terminal's own
    if after.background != before.background:
        settings.append(after.background or "49")  # 49: the terminal's own
    return f"\x1b[{';'.join(settings)}m"
