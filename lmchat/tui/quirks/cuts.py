"""Text is cut at a cell, and no cell is lost: what stands across the cut becomes blanks on both sides.

`Segment.split_cells` of rich 15.0.0 looks at single characters. Cut within ✔️, which its U+FE0F makes
wide, the right part is one cell short, and everything behind it in the row moves. A flag it takes apart,
and vowel signs from their letters, which then join what stands before the cut.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from rich.cells import split_graphemes
from rich.segment import Segment

_SPACING = "\u0e33\u0eb3"
"""Letters by name that are marks on the one before."""
_JOINER = "\u200d"
_SHAPING = (_JOINER, "\ufe0f")
_KEPT = 16 * 1024
"""Cuts that are remembered, as many as rich does."""


def cut_whole_signs() -> None:
    """Let Textual and rich cut like this from now on, wherever a row is cut at a cell."""
    setattr(Segment, "_split_cells", staticmethod(_cut_segment))  # noqa: B010 - a method of a named tuple


def cut_at(text: str, cell: int) -> tuple[str, str]:
    """Return what stands before a cell and what stands from it on; their cells add up to those of all."""
    lead = _shaping(text)
    begins = [(lead + begin, size) for begin, size in graphemes(text[lead:])]
    used = 0
    for number, (begin, size) in enumerate(begins, 1):
        if used + size > cell:
            if used == cell:
                return text[:begin], text[begin:]
            end = begins[number][0] if number < len(begins) else len(text)
            return text[:begin] + " " * (cell - used), " " * (used + size - cell) + text[end:]
        used += size
    return text, ""


def graphemes(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each grapheme begins and how many cells it takes: flags and marks stay together."""
    spans, _ = split_graphemes(text)
    begin, total, is_half_flag = 0, 0, False
    for start, _end, size in spans:
        is_flag = "\U0001f1e6" <= text[start] <= "\U0001f1ff"
        is_mark = text[start] in _SPACING or unicodedata.category(text[start])[0] == "M"
        is_joined = is_mark or (is_flag and is_half_flag)
        if start and not is_joined:
            yield begin, total
            begin, total = start, 0
        total += size
        is_half_flag = is_flag and not is_half_flag
    if text:
        yield begin, total


def _shaping(text: str) -> int:
    """Return how many characters at the beginning take no cells, for rich: a joiner hides what it joins."""
    size = 0
    while text[size : size + 1] in _SHAPING:
        size += 2 if text[size] == _JOINER else 1
    return min(size, len(text))


@lru_cache(_KEPT)
def _cut_segment(segment: Segment, cell: int) -> tuple[Segment, Segment]:
    text, style, control = segment
    before, behind = cut_at(text, cell)
    return Segment(before, style, control), Segment(behind, style, control)
