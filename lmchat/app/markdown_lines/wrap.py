"""Wrapping of text. Widths are in cells, places in a text in characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from rich.cells import cell_len
from rich.style import Style

from lmchat.app.cells import graphemes, widen_cells
from lmchat.app.markdown_lines.block import Span
from lmchat.base.safe_text import without_controls

widen_cells()  # `cell_len` is used by all of this package
TAB_CELLS = 4
BREAK = "\n"  # text of a span that ends a line

# a line may end between these; Korean words stay whole
_IDEOGRAPHS = (
    "\u2e80-\u2fff\u3003-\u3007\u3012\u3013\u3020-\u30fe\u3105-\u312f\u31a0-\u9fff\ua000-\ua4cf"
    "\uf900-\ufaff\uff00-\uff9f\uffe0-\uffef\U0001f200-\U0001f2ff\U00020000-\U0003fffd"
)
_OPENING = (
    "\u2018\u201c\u3008\u300a\u300c\u300e\u3010\u3014\u3016\u3018\u301a\u301d"
    "\uff08\uff3b\uff5b\uff5f\uff62(\\[{"
)
# may not start a line: they stay with the ideograph before them
_CLOSING = (
    "\u2019\u201d\u2014\u2026\u2025\u00b7\u3001\u3002\u3005\u3009\u300b\u300d\u300f\u3011\u3015"
    "\u3017\u3019\u301b\u301e\u301f\u303b\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087"
    "\u308e\u3095\u3096\u3099-\u309e\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30ee"
    "\u30f5\u30f6\u30fb-\u30fe\u31f0-\u31ff\uff01\uff05\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d"
    "\uff5d\uff60\uff61\uff63-\uff65\uff67-\uff70\uff9e\uff9f)\\]},.!?:;%\u2030\u2103"
)
_MARKS = "\u0300-\u036f\u20d0-\u20ff\u302a-\u302f\ufe00-\ufe0f\U000e0100-\U000e01ef"
# A line may end at these, but not at those that hold words together. U+200B, of no width, is
# between words of Khmer and Burmese.
_BLANKS = " \u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u200b\u205f\u3000"

# both take linear time: they start with no blank, and try no shorter run of signs
_WORD = f"[^{_BLANKS}]++[{_BLANKS}]*+"
_IDEOGRAPH = f"[{_IDEOGRAPHS}]"
_OTHER_WORD = f"[^{_BLANKS}{_IDEOGRAPHS}]*[^{_BLANKS}{_IDEOGRAPHS}{_OPENING}]"
# one ideograph, or a word, with its brackets and stops
_ATOM = (
    f"(?:[{_OPENING}]*+"
    f"(?:(?![{_OPENING}{_CLOSING}]){_IDEOGRAPH}[{_MARKS}]*|{_OTHER_WORD})"
    f"[{_CLOSING}]*+|[{_OPENING}{_CLOSING}]++)"  # or brackets and stops alone
    f"[{_BLANKS}]*+"
)


def wrap_points(text: str, width: int) -> list[int]:
    """Return where the second and each further line of a text starts.

    Only a word that is wider than a line is cut. Blanks at which a line ends stay there, even
    without room.
    """
    if len(text) <= width and text.isascii():
        return []
    points: list[int] = []
    used = 0  # cells of the current line
    # a line may end at each ideograph
    pattern = _ATOM if re.search(_IDEOGRAPH, text) else _WORD
    for number, match in enumerate(re.finditer(pattern, text)):
        start = match.start() if number else 0  # blanks before the first word are a part of it
        word_and_blanks = text[start : match.end()]
        word = word_and_blanks.rstrip(_BLANKS)
        size = cell_len(word)
        if used + size > width:
            if used:
                points.append(start)
            used = 0
            if size > width:
                cuts = cut_points(word, width)
                points += [start + cut for cut in cuts]
                size = cell_len(word[max(cuts, default=0) :])  # of the rest behind the last cut
        used += size + cell_len(word_and_blanks[len(word) :])
    return points


def cut_points(text: str, width: int, next_width: int = 0) -> list[int]:
    """Cut a text wherever its blanks are, but split no grapheme.

    With `next_width`, all lines but the first have that many cells.
    """
    points: list[int] = []
    used = 0  # cells of the current line
    for start, _, size in graphemes(text):
        if used + size > width and start:  # nothing is cut off before the first character
            points.append(start)
            used = 0
            width = next_width or width
        used += size
    return points


def text_of(spans: Iterable[tuple[str, object]]) -> str:
    return "".join(text for text, _ in spans)


def width_of(spans: Iterable[tuple[str, object]]) -> int:
    return sum(cell_len(text) for text, _ in spans)


def wrapped(spans: Sequence[Span], width: int) -> list[list[Span]]:
    """Return at least one line; see `wrap_points`."""
    text = text_of(spans)
    return [*split_spans(spans, [0, *wrap_points(text, width), len(text)])]


def split_spans(spans: Iterable[Span], bounds: Sequence[int]) -> Iterator[list[Span]]:
    """Yield the spans between each two bounds; blanks follow where the spans are shorter."""
    unread = iter(spans)
    text, style = next(unread, ("", Style.null()))
    for start, end in pairwise(bounds):
        between: list[Span] = []
        missing = end - start  # characters
        while missing > 0:
            if text:
                head = text[:missing]
                between.append((head, style))
                text = text[missing:]
                missing -= len(head)
            else:
                text, style = next(unread, (" " * missing, style))
        yield between


def harmless(text: str) -> str:
    return without_controls(text).expandtabs(TAB_CELLS)
