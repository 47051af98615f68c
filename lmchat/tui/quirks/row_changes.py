"""Which cells of a row look different from those that were written before."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

Painted = tuple[Strip, bool]
"""A row, and whether every terminal gives its characters the cells that we count."""
Run = tuple[int, Sequence[Segment]]
"""The first cell, and what is to be written from it on."""
_SURE = (
    *(0x20, 0x300, 0x370, 0x590, 0x2010, 0x2028, 0x2030, 0x205F, 0x2190, 0x2400, 0x2500, 0x27C0),
    *(0x3000, 0x302A, 0x3030, 0xA000, 0xAC00, 0xD7A4, 0xFF00, 0xFFF0),
)
"""Where ranges of characters begin and end whose width terminals agree about: no marks that combine, no
joiners, no emoji. As a regular expression they cost each start 2 ms."""


def painted(strip: Strip) -> Painted:
    """Return a row as it is to be remembered."""
    return strip, all(text.isascii() or _is_sure(text) for text, _, _ in strip._segments)


def _is_sure(text: str) -> bool:
    return all(bisect_right(_SURE, ord(char)) % 2 for char in set(text))


def changed_cells(old: Painted | None, new: Painted) -> Run | None:
    """Return what is to be written so that a row looks like another; None where it does already.

    Behind a character of unsure width the terminal's cells need not be ours: such a row is written whole.
    """
    after = new[0]._segments
    if old is None:
        return 0, after
    before = old[0]._segments
    if before == after:
        return None
    if not (new[1] and old[1]):
        return 0, after
    same = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        same += 1
    start = sum(cell_len(text) for text, _, _ in after[:same])
    rest = list(after[same:])
    skipped = _same_beginning(before[same], rest[0]) if same < len(before) and rest else 0
    if skipped:
        text, style, control = rest[0]
        start += cell_len(text[:skipped])
        rest[0] = Segment(text[skipped:], style, control)
    blanks = _same_end(before, rest) if rest else 0
    if blanks:
        text, style, control = rest[-1]
        rest[-1] = Segment(text[: max(len(text) - blanks, 0)], style, control)
    return start, [segment for segment in rest if segment.text]


def _same_beginning(one: Segment, other: Segment) -> int:
    """Return how many characters of two segments are the same."""
    if one.style != other.style:
        return 0
    size = 0
    for left, right in zip(one.text, other.text, strict=False):
        if left != right:
            break
        size += 1
    return size


def _same_end(before: Sequence[Segment], rest: Sequence[Segment]) -> int:
    """Return how many blanks at the end are there already."""
    one, other = before[-1], rest[-1]
    if one.style != other.style:
        return 0
    return min(len(text) - len(text.rstrip(" ")) for text in (one.text, other.text))


def cut(run: Run, width: int) -> Run:
    """Return the part of a run that lies before a cell."""
    start, segments = run
    excess = start + sum(cell_len(text) for text, _, _ in segments) - width
    if excess <= 0:
        return run
    text, style, control = segments[-1]
    if text.endswith(" " * excess):
        return start, [*segments[:-1], Segment(text[:-excess], style, control)]
    return start, Strip(segments).crop(0, max(width - start, 0))._segments
