"""Styled row of text: left pieces are dropped whole, the right text is never cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.widget import Widget

from lmchat.text import cut_at
from lmchat.tui.icons import icons_for, in_ascii

Part = tuple[str, str]  # safe text and its style, as `("ready", "$success")`
Parts = tuple[Part, ...]

MUTED = "$muted"  # style of secondary text
FAINT = "$text-disabled"  # style of rules and sparks, never of words
STRONG = "bold"  # style of titles, heads and keys
HIT = "bold underline $primary"  # style of search hits
_GAP = 2
_EMPTY = Content("")


def content(parts: Sequence[Part]) -> Content:
    """Join parts without reading them as markup."""
    return Content.assemble(*parts)


def cut(text: Content, width: int, ellipsis: str = "…") -> Content:
    """Shorten text to a width, with an ellipsis."""
    if text.cell_length <= width:
        return text
    room = width - cell_len(ellipsis)
    if room <= 0:
        return text.truncate(max(width, 0))
    return text.truncate(room).extend_right(len(ellipsis), ellipsis[0])


def plain(text: Content) -> Content:
    """Return text with our icons in ASCII."""
    return Content(in_ascii(text.plain), list(text.spans))


def cut_middle(text: str, width: int, ellipsis: str = "…") -> str:
    """Shorten a path or an address in its middle: both ends are informative."""
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    if room < _GAP:
        return set_cell_size(text, max(width, 0))
    head, tail = room - room // 2, room // 2
    return cut_at(text, head)[0] + ellipsis + cut_at(text, cell_len(text) - tail)[1]


def fit(pieces: Sequence[Content], right: Content, width: int, ellipsis: str = "…") -> Content:
    """Fill exactly a width: whole pieces go from the end, the first is then cut, `right` stays as it is.

    An ellipsis in ASCII means that all of our icons are to be drawn in ASCII.
    """
    room = max(width - right.cell_length - (_GAP if right else 0), 0)
    kept = list(pieces)
    while len(kept) > 1 and sum(piece.cell_length for piece in kept) > room:
        kept.pop()
    left = cut(Content("").join(kept), room, ellipsis)
    gap = width - left.cell_length - right.cell_length
    line = left + " " * max(gap, 0) + right
    return plain(line) if ellipsis.isascii() else line


class LineWidget(Widget):
    """Row that is redrawn only when its text changes."""

    def __init__(
        self, left: Sequence[Content] = (), right: Content = _EMPTY, **options: Any
    ) -> None:
        super().__init__(**options)
        self._pieces = [*left, right]

    def show(self, left: Sequence[Content], right: Content = _EMPTY) -> None:
        old, self._pieces = self._pieces, [*left, right]
        if [(one.plain, one.spans) for one in old] != [
            (one.plain, one.spans) for one in self._pieces
        ]:
            self.refresh()

    def render(self) -> Content:
        *left, right = self._pieces
        return fit(left, right, self.content_size.width, icons_for(self).cut)
