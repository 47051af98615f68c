"""Lines of styled text with pieces at the left and a text at the right.

A piece is one or more texts with a style. Without room, the last piece is dropped; the text at the
right is never cut. Widths are in cells. All text of widgets is made safe here, in `content`,
`styled` or `paragraphs`. A text whose width is measured before that must be a `SafeText`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Any

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from lmchat.app.cells import split_at_cell, without_middle
from lmchat.app.markdown_lines.wrap import cut_points
from lmchat.base.safe_text import SafeText, on_one_line, safe_line, safe_text
from lmchat.base.units import SIGNS

StyledText = tuple[str, str]  # as `("ready", "$success")`
StyledTexts = tuple[StyledText, ...]

MUTED = "$muted"  # secondary text
FAINT = "$text-disabled"  # rules, never words
SPARK = "$spark"  # bars of a sparkline
SPEED = "$speed"  # last cell of each bar of the graph of the speed
SPEED_FILL = "$speed-fill"  # cells below it
MODEL = "$accent"  # the name of a model
METER = "$meter"  # the used part of a meter
STRONG = "bold"  # titles, heads and keys
SIGN_STYLES = {
    SIGNS.ready: "$success",
    SIGNS.degraded: "$warning",
    SIGNS.failed: "$error",
    SIGNS.off: MUTED,
}
HIT = "bold underline $primary"  # search hits
_GAP = 2  # cells between the left pieces and the right text
_EMPTY = Content("")


def content(texts: Sequence[StyledText]) -> Content:
    """Join texts to one line; control characters become visible, and markup is not read."""
    return Content.assemble(*((on_one_line(text), style) for text, style in texts))


def styled(text: str, style: str = "") -> Content:
    return content(((text, style),))


def highlighted(name: str, offsets: Sequence[int], style: str) -> StyledTexts:
    runs = groupby(enumerate(name), key=lambda pair: pair[0] in offsets)
    return tuple(
        ("".join(char for _, char in run), HIT if is_hit else style) for is_hit, run in runs
    )


def paragraphs(text: str, style: str = "") -> Content:
    """Keep line breaks; control characters become visible."""
    return Content.styled(safe_text(text), style)


def wrapped_lines(text: str, width: int) -> list[str]:
    return [line.plain.rstrip() for line in styled(text).wrap(max(width, 1))]


def cut(text: Content, width: int) -> Content:
    if text.cell_length <= width:
        return text
    if width <= 0:
        return Content("")
    # unlike `+`, this gives the ellipsis the style before it
    return text.truncate(width - 1).extend_right(1, SIGNS.cut)


def cut_middle(text: str, width: int) -> SafeText:
    """Put a path or an address on one line, cut in its middle."""
    return SafeText(without_middle(on_one_line(text), width))


def parted(text: str, width: int) -> tuple[str, str]:
    """Cut a text at the end of a word that fits; return both parts."""
    if cell_len(text) <= width:
        return text, ""
    at = next(iter(cut_points(text, width)), 0)  # a character without room goes to the rest
    end = text.rfind(" ", 0, at + 1)  # a blank may be behind the last word
    if end <= 0:  # one long word
        return text[:at], text[at:]
    return text[:end], text[end + 1 :]


def shared_beginnings(names: Iterable[str]) -> dict[str, int]:
    """Return how many characters at the beginning of each name another one has, too."""
    ordered = sorted(set(names))  # the most similar ones are neighbours
    shared = dict.fromkeys(ordered, 0)
    for name, following in pairwise(ordered):
        count = same_characters(name, following)
        shared[name] = max(shared[name], count)
        shared[following] = count
    return shared


def same_characters(text: str, other: str) -> int:
    pairs = enumerate(zip(text, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(text), len(other)))


def cut_apart(name: str, width: int, shared: int) -> str:
    """Cut a name in its middle if it would look like another one with a cut at its end.

    `shared` is that of `shared_beginnings`. Any other name stays whole; `fit` cuts its end.
    """
    if cell_len(name) <= width or len(split_at_cell(name, width - 1)[0]) > shared:
        return name
    return cut_middle(name, width)


def short_names(names: Iterable[str], width: int) -> dict[str, SafeText]:
    """Cut names to `width` cells so that they stay different, as far as there is room."""
    return {
        name: safe_line(cut_apart(safe_line(name), width, shared), limit=width)
        for name, shared in shared_beginnings(names).items()
    }


def fit(pieces: Sequence[Content], right: Content, width: int) -> Content:
    """Make a line of `width` cells, with pieces at the left and `right` at its end.

    Without room, pieces are dropped from the last one on; the first is cut. `right` is never cut:
    if it is wider than `width`, the line is, too.
    """
    room = max(width - right.cell_length - (_GAP if right else 0), 0)
    fitting = list(pieces)
    while len(fitting) > 1 and sum(piece.cell_length for piece in fitting) > room:
        fitting.pop()
    left = cut(Content("").join(fitting), room)
    gap = width - left.cell_length - right.cell_length
    return left + " " * gap + right


class LineWidget(Widget):
    """Row with a line as `fit` makes it; redrawn only when text or style changes."""

    def __init__(self, left: Sequence[Content] = (), **options: Any) -> None:
        super().__init__(**options)
        self._pieces = [*left, _EMPTY]  # those at the left, then the one at the right

    def show(self, left: Sequence[Content], right: Content = _EMPTY) -> None:
        pieces = [*left, right]
        # `is_same` also compares styles, `==` only texts
        is_same = len(pieces) == len(self._pieces) and all(
            map(Content.is_same, pieces, self._pieces)
        )
        self._pieces = pieces
        if not is_same:
            self.refresh()

    def render(self) -> Content:
        *left, right = self._pieces
        return fit(left, right, self.content_size.width)
