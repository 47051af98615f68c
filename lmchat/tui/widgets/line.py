"""Lines of styled text: left pieces are dropped whole, the right text is never cut.

All text of widgets passes the filter here, in `content`, `styled` or `paragraphs`. A text whose
width is measured before that is a `SafeText`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.widget import Widget

from lmchat.text import SafeText, on_one_line, safe_text, split_at_cell
from lmchat.tui.icons import icons_for, in_ascii

StyledText = tuple[str, str]  # text and its style, as `("ready", "$success")`
StyledTexts = tuple[StyledText, ...]

MUTED = "$muted"  # style of secondary text
FAINT = "$text-disabled"  # style of rules and sparks, never of words
STRONG = "bold"  # style of titles, heads and keys
HIT = "bold underline $primary"  # style of search hits
_GAP = 2  # cells between the left pieces and the right text
_EMPTY = Content("")


def content(parts: Sequence[StyledText]) -> Content:
    """Join texts to one line; control characters become visible, and markup is not read."""
    return Content.assemble(*((on_one_line(text), style) for text, style in parts))


def styled(text: str, style: str = "") -> Content:
    """Return one line in one style."""
    return content(((text, style),))


def paragraphs(text: str, style: str = "") -> Content:
    """Return a text that may have several lines."""
    return Content.styled(safe_text(text), style)


def cut(text: Content, width: int, ellipsis: str = "…") -> Content:
    """Shorten text to a width, with an ellipsis."""
    if text.cell_length <= width:
        return text
    room = width - cell_len(ellipsis)
    if room <= 0:
        return text.truncate(max(width, 0))
    return text.truncate(room).extend_right(len(ellipsis), ellipsis[0])


def cut_middle(text: str, width: int, ellipsis: str = "…") -> SafeText:
    """Shorten a path or an address in its middle: both ends are informative."""
    text = on_one_line(text)
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    if room < _GAP:
        return SafeText(set_cell_size(text, max(width, 0)))
    tail_width = room // 2
    head, _ = split_at_cell(text, room - tail_width)
    _, tail = split_at_cell(text, cell_len(text) - tail_width)
    return SafeText(head + ellipsis + tail)


def fit(pieces: Sequence[Content], right: Content, width: int, ellipsis: str = "…") -> Content:
    """Return a line of exactly a width, with pieces at the left and `right` at its end.

    Without room, pieces are dropped from the end, and the first one is cut; `right` is never cut.
    An ellipsis in ASCII means that all of our icons are to be drawn in ASCII.
    """
    room = max(width - right.cell_length - (_GAP if right else 0), 0)
    fitting = list(pieces)
    while len(fitting) > 1 and sum(piece.cell_length for piece in fitting) > room:
        fitting.pop()
    left = cut(Content("").join(fitting), room, ellipsis)
    gap = width - left.cell_length - right.cell_length
    line = left + " " * max(gap, 0) + right
    if ellipsis.isascii():
        return Content(in_ascii(line.plain), list(line.spans))
    return line


class LineWidget(Widget):
    """Row that is redrawn only when its text changes."""

    def __init__(
        self, left: Sequence[Content] = (), right: Content = _EMPTY, **options: Any
    ) -> None:
        super().__init__(**options)
        self._pieces = [*left, right]

    def show(self, left: Sequence[Content], right: Content = _EMPTY) -> None:
        """Show pieces at the left, which are dropped from the end, and a text at the right."""
        old_pieces = self._pieces
        self._pieces = [*left, right]
        if list(map(_text_and_styles, old_pieces)) != list(map(_text_and_styles, self._pieces)):
            self.refresh()

    def render(self) -> Content:
        *left, right = self._pieces
        return fit(left, right, self.content_size.width, icons_for(self).cut)


def _text_and_styles(piece: Content) -> tuple[str, object]:
    """Return what must be compared: contents are equal if their texts are, whatever the styles."""
    return piece.plain, piece.spans
