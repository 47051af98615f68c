"""What stands behind a character of unsure width is put where we count it.

Terminals do not agree about joined emoji, flags, signs with a variation selector (⚠️, 1️⃣) and many scripts:
tmux 3.3a takes one cell for ⚠️ where we count two, and four for a flag. What follows would stand elsewhere in
its row, also what other widgets show there, and cells at its end would keep what stood there before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len, split_graphemes
from rich.console import Console
from rich.control import Control
from rich.segment import Segment
from textual import screen
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from lmchat.tui.quirks.cuts import cut_whole_signs

_SURE = (
    *(0x20, 0x300, 0x370, 0x590, 0x2010, 0x2028, 0x2030, 0x205F, 0x2190, 0x2427, 0x2500, 0x27C0),
    *(0x3000, 0x302A, 0x3030, 0xA000, 0xAC00, 0xD7A4, 0xFF00, 0xFFF0),
)
"""Where ranges of characters begin and end whose width terminals agree about: no marks that combine, no
joiners, no emoji. As a regular expression they cost each start 2 ms."""
_SIGNS = 0x2010
"""Letters stand before it: a word of them is put in its place as a whole, which costs fewer bytes."""
_FLAGS = range(0x1F1E6, 0x1F200)
"""Two of them are one flag, and must not be taken apart."""


def is_sure(segments: Iterable[Segment]) -> bool:
    """Whether every terminal gives these characters the cells that we count."""
    return all(text.isascii() or _is_sure(text) for text, _, _ in segments)


def placed(segments: Iterable[Segment], x: int) -> Iterator[Segment]:
    """Yield segments that begin at cell `x` of the screen, with the places of what is unsure told in them."""
    for segment in segments:
        text, style, control = segment
        if control or text.isascii() or _is_sure(text):
            yield segment
        else:
            yield Segment(_placed(text, x), style)
        x += segment.cell_length


def reaches_beyond(segments: Iterable[Segment], x: int, right: int) -> bool:
    """Whether a terminal may use the cell `right`, or one behind, for what we count to end before it."""
    for text, _, control in segments:
        if control:
            continue
        if x + len(text) * 2 > right and not (text.isascii() or _is_sure(text)):
            place = x
            for group in _groups(text):
                if not _is_sure(group) and place + _most_cells(group) > right:
                    return True
                place += cell_len(group)
        x += cell_len(text)
    return False


class PlacedCompositor(Compositor):
    """Writes what Textual does, with the places of what is unsure."""

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        """Return all of the screen.

        What no widget has painted is blank: one that does not know its new size yet has too few rows.
        """
        update = super().render_full_update(simplify)
        if not simplify:  # for a picture, not for a terminal
            rows: Any = update.strips  # values of a dictionary each
            update.strips = [
                _placed_row(row.mapping, cuts) for row, cuts in zip(rows, self.cuts, strict=False)
            ]
        return update

    def render_partial_update(self) -> ChopsUpdate | None:
        """Return what changed, and what stands beside it where a sign may reach over its edge."""
        regions = self._dirty_regions.copy()
        update = self._changed()
        beside = {self.rest_of_row(right, y) for right, y in update.crossed_edges()} if update else set()
        if any(beside):
            self._dirty_regions.update(regions, filter(None, beside))
            return self._changed()
        return update

    def _changed(self) -> PlacedChops | None:
        update = super().render_partial_update()
        return None if update is None else PlacedChops(update.chops, update.spans, update.chop_ends)

    def rest_of_row(self, x: int, y: int) -> Region:
        """Return the cells of a row from one on, none where the screen ends before it."""
        return Region(x, y, max(self.size.width - x, 0), 1)


def place_everywhere() -> None:
    """Let every screen that is made from now on paint like this, and every row be cut without loss."""
    setattr(screen, "Compositor", PlacedCompositor)  # noqa: B010 - a name that it does not export
    cut_whole_signs()


class PlacedChops(ChopsUpdate):
    """Pieces of rows, written as Textual does, with the places of what is unsure."""

    def render_segments(self, console: Console) -> str:
        """Return all of it for the terminal."""
        out: list[str] = []
        for x, y, _, piece in self._pieces():
            out += (Control.move_to(x, y).segment.text, _placed_strip(piece, x).render(console))
        return "".join(out)

    def crossed_edges(self) -> Iterator[tuple[int, int]]:
        """Yield where it ends, cell and row, as we count, and may go on for the terminal."""
        for x, y, right, piece in self._pieces():
            if reaches_beyond(piece._segments, x, right):
                yield right, y

    def _pieces(self) -> Iterator[tuple[int, int, int, Strip]]:
        """Yield the first cell of each piece, its row, where what is written there ends, and the piece."""
        for y, left, right in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x > right or end <= left:
                    continue
                yield x, y, right, strip if end <= right else strip.crop(0, right - x)


def _placed_row(strips: Mapping[int, Strip | None], cuts: Sequence[int]) -> list[Strip]:
    """Return the pieces of a row, by where they begin, with blanks for those that no widget has painted."""
    return [
        Strip.blank(end - x) if strip is None else _placed_strip(strip, x)
        for (x, strip), end in zip(strips.items(), cuts[1:], strict=False)
    ]


def _placed_strip(strip: Strip, x: int) -> Strip:
    segments = strip._segments
    return strip if is_sure(segments) else Strip(placed(segments, x), strip.cell_length)


def _is_sure(text: str) -> bool:
    return all(bisect_right(_SURE, ord(char)) % 2 for char in set(text))


def _placed(text: str, x: int) -> str:
    out: list[str] = []
    for group in _groups(text):
        cells = cell_len(group)
        if _is_sure(group):
            out.append(group)
        elif cells:
            # blanks first: where it takes fewer cells than we count, something else may stand in the others
            out.append(f"{' ' * cells}\x1b[{x + 1}G{group}\x1b[{x + cells + 1}G")
        else:  # it belongs to a sign in another style, and may make that wider
            out.append(f"{group}\x1b[{x + 1}G")
        x += cells
    return "".join(out)


def _groups(text: str) -> Iterator[str]:
    """Yield what is put in its place at once: what is sure, a word, a flag, a sign with all its parts."""
    group, kind = "", None
    for start, end, _ in split_graphemes(text)[0]:
        part = text[start:end]
        its_kind = _kind(part)
        if group and (its_kind != kind or its_kind == "sign"):
            yield group
            group = ""
        group, kind = group + part, its_kind
    if group:
        yield group


def _most_cells(group: str) -> int:
    """Return what a terminal takes at most: for each character of a word one cell, of a sign two."""
    return len(group) * (1 if _kind(group) == "word" else 2)


def _kind(part: str) -> str:
    if _is_sure(part):
        return "sure"
    first = ord(part[0])
    if first in _FLAGS:
        return "flag"
    return "word" if first < _SIGNS and all(ord(char) < _SIGNS for char in part) else "sign"
