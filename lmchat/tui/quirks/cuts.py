"""Text is cut at a cell, and no cell is lost: what stands across the cut becomes blanks on both sides.

`Segment.split_cells` of rich 15.0.0 looks at single characters. Cut within ✔️, which its U+FE0F makes
wide, the right part is one cell short, and everything behind it in the row moves. A flag it takes apart,
and vowel signs from their letters, which then join what stands before the cut.
"""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment

from lmchat.text import graphemes

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
