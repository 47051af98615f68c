"""The page that lines are written on, and the wrapping of text into lines.

A span is text in one style. Widths and rooms are in cells, places in a text in characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import pairwise

from msgspec import Struct, field
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from lmchat.cells import graphemes
from lmchat.markdown.block import Line, Span
from lmchat.markdown.colours import Colours
from lmchat.safe_text import safe_text
from lmchat.units import UNICODE

MIN_WIDTH = 12  # columns; a narrower page is laid out at this width and cut
TAB_CELLS = 4
BREAK = "\n"  # text of a span that ends a line

# Chinese and Japanese letters, between which a line may end; Korean words stay whole
_IDEOGRAPHS = (
    "\u2e80-\u2fff\u3003-\u3007\u3012\u3013\u3020-\u30fe\u3105-\u312f\u31a0-\u9fff\ua000-\ua4cf"
    "\uf900-\ufaff\uff00-\uff9f\uffe0-\uffef\U0001f200-\U0001f2ff\U00020000-\U0003fffd"
)
# characters that may not end a line
_OPENING = (
    "\u2018\u201c\u3008\u300a\u300c\u300e\u3010\u3014\u3016\u3018\u301a\u301d"
    "\uff08\uff3b\uff5b\uff5f\uff62(\\[{"
)
# characters that may not begin a line: they stay with the ideograph before them
_CLOSING = (
    "\u2019\u201d\u2014\u2026\u2025\u00b7\u3001\u3002\u3005\u3009\u300b\u300d\u300f\u3011\u3015"
    "\u3017\u3019\u301b\u301e\u301f\u303b\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087"
    "\u308e\u3095\u3096\u3099-\u309e\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30ee"
    "\u30f5\u30f6\u30fb-\u30fe\u31f0-\u31ff\uff01\uff05\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d"
    "\uff5d\uff60\uff61\uff63-\uff65\uff67-\uff70\uff9e\uff9f)\\]},.!?:;%\u2030\u2103"
)
_MARKS = "\u0300-\u036f\u20d0-\u20ff\u302a-\u302f\ufe00-\ufe0f\U000e0100-\U000e01ef"
# blanks at which a line may end; those that hold two words together are not among them
_BLANKS = " \u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u205f\u3000"

# Both patterns take linear time: they begin with no blank, and try no shorter run of signs.
_WORD = f"[^{_BLANKS}]++[{_BLANKS}]*+"
_IDEOGRAPH = f"[{_IDEOGRAPHS}]"
_OTHER_WORD = f"[^{_BLANKS}{_IDEOGRAPHS}]*[^{_BLANKS}{_IDEOGRAPHS}{_OPENING}]"
# a unit of text with ideographs: one of them, or a word, with its brackets and stops
_ATOM = (
    f"(?:[{_OPENING}]*+"
    f"(?:(?![{_OPENING}{_CLOSING}]){_IDEOGRAPH}[{_MARKS}]*|{_OTHER_WORD})"
    f"[{_CLOSING}]*+|[{_OPENING}{_CLOSING}]++)"  # or brackets and stops alone
    f"[{_BLANKS}]*+"
)


def wrap_points(text: str, width: int) -> list[int]:
    """Return the places in a text at which the second and each further line of it begins.

    A line ends between two words; only a word that is wider than a line is cut. Blanks at which a
    line ends stay at its end, even where there is no room for them.
    """
    if len(text) <= width and text.isascii():
        return []
    points: list[int] = []
    used = 0  # cells of the current line
    # ideographs have no blanks between words: a line may end at each of them
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
                size = cell_len(word[max(cuts, default=0) :])  # of what is behind the last cut
        used += size + cell_len(word_and_blanks[len(word) :])
    return points


def word_starts(text: str) -> list[int]:
    """Return where the words of a text begin, as which each ideograph counts.

    Blanks before the first one are a part of it.
    """
    starts = [match.start() for match in re.finditer(_ATOM, text)]
    return [0, *starts[1:]] if starts else []


def cut_points(text: str, width: int, rest_width: int = 0) -> list[int]:
    """Return where to cut a text into lines of `width` cells, wherever its blanks are.

    With `rest_width`, all lines but the first have that many cells. No drawn character is split:
    one that is wider than a line has a line alone.
    """
    points: list[int] = []
    used = 0  # cells of the current line
    for start, size in graphemes(text):
        if used + size > width and start:  # nothing is cut off before the first character
            points.append(start)
            used = 0
            width = rest_width or width
        used += size
    return points


class Page(Struct):
    """All that laying out a block depends on, beside the block."""

    width: int  # cells, with those of the bar at the left
    styles: Mapping[str, Style]  # styles by name; `base` and `panel` also have a background
    has_tints: bool = True  # whether a tint tells code from text; without it, a rule does
    today: date | None = None  # other days are shown with their date; None: no date is shown
    colours: Colours = field(default_factory=Colours)  # those of code
    is_ascii: bool = False  # whether the terminal has no other characters
    has_padding: bool = True  # whether each line is filled up to the width
    own_keys: Mapping[str, str] = {}  # keys that the user has given to commands, by their ids

    @property
    def text_width(self) -> int:
        # one cell for the bar, and one empty cell on each side of the text
        return max(self.width - 3, MIN_WIDTH)

    def style(self, *names: str) -> Style:
        """Return the sum of the styles with these names; where they differ, the last one counts."""
        total = Style.null()
        for name in names:
            total += self.styles[name]
        return total

    def line(
        self,
        spans: Iterable[Span],
        *,
        prefix: Sequence[Span] = (),
        right: Sequence[Span] = (),
        text: str = "",
        tint: str = "base",
        lead: str = "base",
    ) -> Line:
        """Return a line as wide as the page: the prefix and the spans, and `right` at its end.

        Spans that do not fit are cut. `text` is what a selection copies of the line. `lead` and
        `tint` name the styles of the ground below the prefix and below the spans. At the left edge,
        the ground is `lead`, which is therefore `Line.tint`.
        """
        ground = self.styles[lead]
        segments = [Segment(" ", ground)]
        segments += [Segment(part, ground + style) for part, style in prefix if part]
        start = 1 + sum(len(part) for part, _ in prefix)  # 1 for the first segment

        ground = self.styles[tint]
        if right:
            right = [*right, (" ", Style.null())]
        # without the bar and the empty cell beside it
        room = self.width - 2 - width_of(prefix) - width_of(right)
        for words, style in spans:
            size = cell_len(words)
            shown = words
            if size > room:  # blanks at the end of a line may not fit
                size = max(room, 0)
                shown = set_cell_size(words, size)
            if shown:
                segments.append(Segment(shown, ground + style))
                room -= size
        if room > 0 and self.has_padding:
            segments.append(Segment(" " * room, ground))
        segments += [Segment(part, ground + style) for part, style in right]
        return Line(segments, text, start, tint=lead)

    def wrap(
        self,
        spans: Sequence[Span],
        *,
        prefix: Sequence[Span] = (),
        next_prefix: Sequence[Span] = (),
        right: Sequence[Span] = (),
        tint: str = "base",
    ) -> Iterator[Line]:
        """Yield the wrapped lines of a paragraph, each with what a selection copies of it.

        The first line begins with `prefix`, the others with `next_prefix`. The first line ends with
        `right`, and all lines leave room for it. `tint` is the ground of prefixes and text.
        """
        text = "".join(words for words, _ in spans)
        width = max(self.text_width - width_of(next_prefix) - width_of(right), MIN_WIDTH)
        bounds = [0, *wrap_points(text, width), len(text)]
        for end, line_spans in zip(bounds[1:], split_spans(spans, bounds), strict=True):
            line = self.line(line_spans, prefix=prefix, right=right, tint=tint, lead=tint)
            line.text = "".join(words for words, _ in line_spans)
            line.is_wrapped = end < len(text)
            yield line
            prefix = next_prefix
            right = ()

    def row(
        self, left: Sequence[Span], right: Sequence[Span] = (), *, tint: str = "base"
    ) -> list[Line]:
        """Return a row with spans at the left and others at the right.

        Where one row has no room for both, `left` is wrapped; `right` is in the last of the rows.
        """
        text = "".join(words for words, _ in left)
        rows = list(split_spans(left, [0, *wrap_points(text, self.text_width), len(text)]))
        if width_of([*rows[-1], *right]) > self.text_width:
            rows.append([])  # a row for `right` alone
        lines = [line for row in rows[:-1] for line in self.wrap(row, tint=tint)]
        return [*lines, *self.wrap(rows[-1], right=right, tint=tint)]

    def key_hint(self, key: str, words: str, command_id: str) -> list[Span]:
        """Return a gap, the key of a command and what it does; a click on them runs the command.

        `key` is the default key: the user may have given the command another one. `command_id` may
        also be an answer to a tool call, which a click then gives. If it is empty, a click does
        nothing.
        """
        key = self.own_keys.get(command_id) or key
        hint = [(f"  {key}", self.styles["strong"]), (f" {words}", self.styles["muted"])]
        return clickable(hint, command_id.removeprefix("message."))

    def rule(self, words: str, style: str = "muted") -> Line:
        """Return a thin rule across the page with words in it, cut if they are too long."""
        sign = UNICODE.rule
        faint = self.styles["faint"]
        room = max(self.text_width - 4, 1)  # a blank on each side, and two signs of the rule
        shown = [(words, self.styles[style])]
        if cell_len(words) > room:
            shown = self.fit(shown, room)
        lead = [(sign * 2 + " ", faint), *shown]
        fill = self.text_width - width_of(lead) - 1
        text = "".join(part for part, _ in shown).strip()
        return self.line([*lead, (" " + sign * max(fill, 0), faint)], text=text)

    def fit(self, spans: list[Span], width: int, *, align: str = "left") -> list[Span]:
        """Return spans that take exactly a width: padded with blanks, or cut with an ellipsis.

        Where spans that are too long have room for one cell at most, nothing is returned.
        """
        if width_of(spans) > width:
            if width <= 1:
                return []
            left = width - 1
            shown: list[Span] = []
            for text, style in spans:
                size = cell_len(text)
                words = text if size <= left else set_cell_size(text, max(left, 0)).rstrip()
                shown.append((words, style))
                left -= size
                if left < 0:
                    break
            spans = [*shown, (UNICODE.cut, shown[-1][1])]
        room = width - width_of(spans)  # also of cut text: a wide character may leave a cell
        before = {"right": room, "center": room // 2}.get(align, 0)  # blanks before the text
        null = Style.null()
        return [(" " * before, null), *spans, (" " * (room - before), null)]


def clickable(spans: Iterable[Span], act: str) -> list[Span]:
    """Return spans of which a click runs `act`: a message command, or an answer to a tool call."""
    meta = Style(meta={"act": act})
    return [(words, style + meta) for words, style in spans]


def width_of(spans: Iterable[Span]) -> int:
    """Return the number of cells that spans take."""
    return sum(cell_len(text) for text, _ in spans)


def split_spans(spans: Iterable[Span], bounds: Sequence[int]) -> Iterator[list[Span]]:
    """Yield the spans between each two neighbouring bounds, which are places in their text.

    A span across a bound is split. Where the spans are shorter than the bounds say, blanks follow.
    """
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
    """Return lines as they are shown: without terminal commands and without tabs."""
    return safe_text(text).expandtabs(TAB_CELLS)
