"""The page that lines are written on: its width, its styles, its signs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from lmchat.text import safe_text
from lmchat.tui.icons import UNICODE, Signs
from lmchat.tui.widgets.chat_log.blocks import Line, Span
from lmchat.tui.widgets.chat_log.layout.wrapping import cuts_in, wrap_points

MIN_WIDTH = 12
"""Narrower than this nothing is laid out; it is cut instead."""
TAB_CELLS = 4


class Page(Struct):
    """All that laying out a block depends on, beside the block."""

    width: int
    """Cells from the bar to the right edge, both included."""
    styles: Mapping[str, Style]
    """Styles by name; `base` and `panel` also have a background."""
    signs: Signs = UNICODE
    """The signs that the terminal can draw."""
    has_tints: bool = True
    """Whether a tint tells code from text; without one there is a rule."""

    @property
    def text_width(self) -> int:
        """Cells for text: without the bar, a blank at each side."""
        return max(self.width - 3, MIN_WIDTH)

    def style(self, *names: str) -> Style:
        """Return the sum of some styles."""
        total = Style.null()
        for name in names:
            total += self.styles[name]
        return total

    def line(
        self,
        spans: Iterable[Span],
        *,
        prefix: Sequence[Span] = (),
        text: str = "",
        tint: str = "base",
        lead: str = "base",
    ) -> Line:
        """Return a line: a blank and the prefix on one tint, the spans on another, as wide as the page."""
        back, room = self.styles[lead], self.width - 1
        segments = [Segment(" ", back), *(Segment(part, back + style) for part, style in prefix if part)]
        used = 1 + width_of(prefix)
        start = 1 + sum(len(part) for part, _ in prefix)
        back = self.styles[tint]
        for part, style in spans:
            size = cell_len(part)
            if size > room - used:
                size = max(room - used, 0)
                part = set_cell_size(part, size)  # noqa: PLW2901 - blanks at the end of a line may not fit
            if part:
                segments.append(Segment(part, back + style))
                used += size
        if used < room:
            segments.append(Segment(" " * (room - used), back))
        return Line(segments, text, start, tint=lead)

    def wrap(
        self, spans: list[Span], *, first: Sequence[Span] = (), rest: Sequence[Span] = (), tint: str = "base"
    ) -> Iterator[Line]:
        """Break text into lines between words."""
        text = "".join(part for part, _ in spans)
        width = max(self.text_width - width_of(rest), MIN_WIDTH)
        bounds = [0, *wrap_points(text, width), len(text)]
        for end, part in zip(bounds[1:], split(spans, bounds), strict=True):
            line = self.line(part, prefix=first, tint=tint, lead=tint)
            line.text = "".join(text for text, _ in part)
            line.is_wrapped = end < len(text)
            yield line
            first = rest

    def row(
        self,
        left: Sequence[Sequence[Span]],
        right: Sequence[Span] = (),
        *,
        tint: str = "base",
        kept: int = 0,
    ) -> Line:
        """Return a row: pieces at the left, those before the `kept` last may go, and a right part."""
        room = self.text_width - width_of(right) - (2 if right else 0)
        pieces = [list(piece) for piece in left if piece]
        while len(pieces) > 1 and sum(map(width_of, pieces)) > room:
            pieces.pop(-1 - kept if len(pieces) > kept + 1 else -1)
        spans = self.fit([span for piece in pieces for span in piece], max(room, 1))
        text = "".join(part for part, _ in spans).rstrip()
        if right:
            spans += [("  ", Style.null()), *right]
        return self.line(spans, text=text, tint=tint, lead=tint)

    def rule(self, words: str, style: str = "muted") -> Line:
        """Return a thin rule with words in it."""
        sign, faint = self.signs.rule, self.styles["faint"]
        room = max(self.text_width - 4, 1)
        words = self.clip(words, room)
        lead = [(sign * 2 + " ", faint), (words, self.styles[style])]
        fill = self.text_width - width_of(lead) - 1
        return self.line([*lead, (" " + sign * max(fill, 0), faint)], text=words)

    def clip(self, text: str, width: int) -> str:
        """Return text of at most a width, with a sign where it was cut."""
        if cell_len(text) <= width:
            return text
        more = self.signs.cut
        return set_cell_size(text, max(width - len(more), 0)).rstrip() + more

    def fit(self, spans: list[Span], width: int, *, align: str = "left") -> list[Span]:
        """Cut or pad spans to a width."""
        size = width_of(spans)
        if size > width:
            kept: list[Span] = []
            room = width - len(self.signs.cut)
            for text, style in spans:
                part = text if cell_len(text) <= room else set_cell_size(text, max(room, 0)).rstrip()
                kept.append((part, style))
                room -= cell_len(text)
                if room < 0:
                    break
            return self.fit([*kept, (self.signs.cut, kept[-1][1])], width) if width > 1 else []
        blanks, null = " " * (width - size), Style.null()
        before = {"right": len(blanks), "center": len(blanks) // 2}.get(align, 0)
        return [(blanks[:before], null), *spans, (blanks[before:], null)]


def broken(text: str, width: int) -> list[str]:
    """Return text broken between words."""
    bounds = [0, *wrap_points(text, width), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def width_of(spans: Iterable[Span]) -> int:
    """Return the cells that spans take."""
    return sum(cell_len(text) for text, _ in spans)


def split(spans: Iterable[Span], bounds: Sequence[int]) -> Iterator[list[Span]]:
    """Yield the spans between neighbouring bounds, in one go over all of them."""
    rest = iter(spans)
    text, style = next(rest, ("", Style.null()))
    for start, end in pairwise(bounds):
        part: list[Span] = []
        size = end - start
        while size > 0:
            if text:
                part.append((text[:size], style))
                text, size = text[size:], size - min(len(text), size)
            else:
                text, style = next(rest, (" " * size, style))
        yield part


def fold(spans: list[Span], width: int, rest_width: int) -> Iterator[list[Span]]:
    """Break code where the room ends, not between words; the first line may be longer than the others."""
    text = "".join(part for part, _ in spans)
    if cell_len(text) <= width:
        yield spans
        return
    yield from split(spans, [0, *cuts_in(text, width, rest_width), len(text)])


def harmless(text: str) -> str:
    """Return lines as they are shown: without anything that a terminal obeys, and without tabs."""
    return safe_text(text).expandtabs(TAB_CELLS)


def safe_span(text: str) -> str:
    """Return text as it may stand within a line."""
    return safe_text(text).replace("\t", " ").replace("\n", " ")
