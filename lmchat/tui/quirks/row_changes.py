"""Which cells of a row look different from those that were written before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lmchat.tui.quirks.ansi import Pen
from lmchat.tui.quirks.places import is_sure

Run = tuple[int, Sequence[Segment]]
"""The first cell, and what is to be written from it on."""


class Painted:
    """A row as it was written; it is kept as long as it stands anywhere on the screen."""

    __slots__ = ("_body", "_pen", "end", "head", "is_sure", "segments", "start", "strip", "tail")

    def __init__(self, strip: Strip) -> None:
        self.strip = strip
        self.segments = strip._segments
        self.is_sure = is_sure(self.segments)
        """Whether every terminal gives its characters the cells that we count."""
        self.start, self.end = 0, -1
        """The cells between which it is not blank; -1 as long as nobody has asked."""
        self.head: Style | None = None
        """Style of the blanks before them."""
        self.tail: Style | None = None
        """Style of the blanks behind them."""
        self._pen: Pen | None = None
        self._body = ""

    def body(self, pen: Pen) -> str:
        """Return what stands between its blanks, as it is written."""
        if pen is not self._pen:
            out: list[str] = []
            pen.write(Strip(self.segments).crop(self.start, self.end)._segments, out)
            self._pen, self._body = pen, "".join(out)
        return self._body

    def measure(self) -> None:
        """Find out where it is blank."""
        if self.end >= 0:
            return
        width = self.strip.cell_length
        self.head, self.start = _blanks(self.segments, str.lstrip)
        self.tail, blanks = _blanks(self.segments[::-1], str.rstrip)
        self.end = width - blanks
        if self.start > self.end:  # blanks of one style: they all stand behind
            self.start = self.end = 0


def _blanks(segments: Sequence[Segment], strip: Callable[[str, str], str]) -> tuple[Style | None, int]:
    """Return the style of the blanks that a row begins with, or ends with, and how many there are."""
    style = segments[0].style if segments else None
    count = 0
    for text, look, _ in segments:
        if look != style:
            break
        rest = len(strip(text, " "))
        count += len(text) - rest
        if rest:
            break
    return style, count


def moved(old: Painted, new: Painted, width: int, pen: Pen) -> tuple[int, str] | None:
    """Return what is to be written where a row now stands that stood elsewhere; None if that cannot be told.

    Of both only so many cells are seen.

    What it shares with the row that stood there is not looked for, beside blanks: it is written again as it
    was written before.
    """
    if not (old.is_sure and new.is_sure) or old.strip.cell_length != new.strip.cell_length:
        return None
    old.measure()
    new.measure()
    if new.end > width:
        return None
    start, end = 0, width
    if old.head is new.head or old.head == new.head:
        start = min(old.start, new.start)
    if old.tail is new.tail or old.tail == new.tail:
        end = min(old.end, width) if old.end > new.end else new.end
    body = new.body(pen)
    if start < new.start:
        body = pen.blanks(new.start - start, new.head) + body
    return start, body + pen.blanks(end - new.end, new.tail) if new.end < end else body


def changed_cells(old: Painted | None, new: Painted) -> Run | None:
    """Return what is to be written so that a row looks like another; None where it does already.

    Where a character of unsure width stands or stood the terminal's cells need not be ours: such a row is
    written whole.
    """
    after = new.segments
    if old is None:
        return 0, after
    before = old.segments
    if before == after:
        return None
    if not (new.is_sure and old.is_sure):
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
