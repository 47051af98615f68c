"""Which cells of a row look different from those that were written before."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

Painted = tuple[Sequence[Segment], bool]
"""A row, and whether every terminal gives its characters the cells that we count."""
Run = tuple[int, Sequence[Segment]]
"""The first cell, and what is to be written from it on."""
_UNSURE = re.compile(
    r"[^\u0020-\u02ff\u0370-\u0482\u0400-\u058f\u2010-\u2027\u2030-\u205e\u2190-\u23ff\u2500-\u27bf\u3000-\u3029\u3030-\u9fff\uac00-\ud7a3\uff00-\uffef]"
)
"""Characters whose width terminals do not agree about: marks that combine, joiners, emoji."""


def painted(strip: Strip) -> Painted:
    """Return a row as it is to be remembered."""
    segments = strip._segments
    return segments, all(text.isascii() or not _UNSURE.search(text) for text, _, _ in segments)


def changed_cells(old: Painted | None, new: Painted) -> Run | None:
    """Return what is to be written so that a row looks like another; None where it does already.

    Behind a character of unsure width the terminal's cells need not be ours: such a row is written whole.
    """
    after, is_sure = new
    if old is None:
        return 0, after
    before = old[0]
    if before is after or before == after:
        return None
    if not (is_sure and old[1]):
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
