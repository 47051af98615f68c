"""The page that lines are written on: its width and styles, and how spans become lines.

A span is text in one style. Widths are in cells. A tint is a style with a background: `base`,
`panel`, or `label`, that of the first row of code. An act is what a click does: the id of a
command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

from msgspec import Struct, field
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from lmchat.app.markdown_lines.block import Line, Span
from lmchat.app.markdown_lines.highlighter import Colours
from lmchat.app.markdown_lines.wrap import text_of, width_of, wrapped
from lmchat.base.units import SIGNS

_LEAST_WORDS = 8  # cells for longer first words
_MOST_WHOLE = 20  # cells of first words that are never cut
_RULE_CELLS = 4  # a blank on each side of its words, and two signs
MIN_WIDTH = 12  # columns; a narrower page is laid out so and cut


class Page(Struct):
    """All that the layout of a block depends on, apart from the block."""

    width: int  # cells; the first one is for the bar
    styles: Mapping[str, Style]  # with the three tints
    has_tints: bool = True  # its tints differ, so they tell code from text; else a rule does
    has_colours: bool = True  # they tell code from text where tints do not
    today: date | None = None  # other days are shown with their date; None: no dates
    colours: Colours = field(default_factory=Colours)  # of code
    is_ascii: bool = False  # the terminal shows only ASCII
    is_scrollback: bool = False  # printed: no padding, no bar beside code
    user_keys: Mapping[str, str] = {}  # by the ids of commands

    @property
    def text_width(self) -> int:
        # one cell for the bar, one on each side of the text
        return max(self.width - 3, MIN_WIDTH)

    @property
    def muted(self) -> Style:
        return self.styles["muted"]

    def style(self, *names: str) -> Style:
        """Where styles differ, the last counts."""
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
        left_tint: str = "base",
    ) -> Line:
        """Return a line as wide as the page; spans that do not fit are cut.

        `text` is what a selection copies. The prefix and all left of it have the tint `left_tint`.
        """
        ground = self.styles[left_tint]
        segments = [Segment(" ", ground)]  # beside the bar
        segments += [Segment(part, ground + style) for part, style in prefix]
        start = 1 + len(text_of(prefix))  # 1: the empty cell

        ground = self.styles[tint]
        if right:
            right = [*right, (" ", Style.null())]  # at the right edge
        # 2: the bar, which the painter adds, and the empty cell
        room = self.width - 2 - width_of(prefix) - width_of(right)
        for words, style in spans:
            size = cell_len(words)
            shown = words
            # of a wrapped text, only the blanks at its line ends may lack room
            if size > room:
                size = max(room, 0)
                shown = set_cell_size(words, size)
            if shown:
                segments.append(Segment(shown, ground + style))
                room -= size
        if room > 0 and not self.is_scrollback:
            segments.append(Segment(" " * room, ground))
        segments += [Segment(part, ground + style) for part, style in right]
        return Line(segments, text, start, left_tint=left_tint)

    def wrap(
        self,
        spans: Sequence[Span],
        *,
        prefix: Sequence[Span] = (),
        next_prefix: Sequence[Span] = (),
        right: Sequence[Span] = (),
        tint: str = "base",
    ) -> Iterator[Line]:
        """Wrap a paragraph; the first line ends with `right`, and all leave room for it.

        `prefix` must not be wider than `next_prefix`.
        """
        width = max(self.text_width - width_of(next_prefix) - width_of(right), MIN_WIDTH)
        rows = wrapped(spans, width)
        for number, row in enumerate(rows, 1):
            line = self.line(row, prefix=prefix, right=right, tint=tint, left_tint=tint)
            line.text = text_of(row)
            line.is_wrapped = number < len(rows)
            yield line
            prefix = next_prefix
            right = ()

    def row(
        self,
        left: Sequence[Span],
        right: Sequence[Span] = (),
        *,
        keys: Sequence[Span] = (),
        tint: str = "base",
    ) -> list[Line]:
        """Return a row with spans at the left and right, or several, of which the last has `right`.

        While the message has the focus, `keys` are before `right`, if they have room: in the
        prompt, they would type letters.
        """
        *rows, last = wrapped(left, self.text_width)
        if width_of([*last, *right]) > self.text_width:
            rows.append(last)
            last = []  # a row for `right` alone
        lines = [self.line(row, text=text_of(row), tint=tint, left_tint=tint) for row in rows]
        end = self.line(last, right=right, text=text_of(last), tint=tint, left_tint=tint)
        if keys and width_of([*last, *keys, *right]) <= self.text_width:
            focused = self.line(last, right=[*keys, *right], tint=tint, left_tint=tint)
            end.hint = focused.segments
        return [*lines, end]

    def fitted_row(
        self,
        pieces: Sequence[Sequence[Span]],
        right: Sequence[Sequence[Span]] = (),
        *,
        keys: Sequence[Sequence[Span]] | None = None,
        tint: str = "base",
    ) -> Line:
        """Return one row: pieces at the left, of which those at the end go if they lack room.

        Those at the right go first, the last one after all others, until the first of `pieces` is
        whole, or has `_LEAST_WORDS` cells. `keys` take their place while the message has the focus.
        """
        line = self._fitted(pieces, right, tint)
        if keys is not None:
            line.hint = self._fitted(pieces, keys, tint).segments
        return line

    def _fitted(
        self, pieces: Sequence[Sequence[Span]], right: Sequence[Sequence[Span]], tint: str
    ) -> Line:
        first, *more = pieces or [[]]
        ends = [*right]
        least = width_of(first)
        if least > _MOST_WHOLE:
            least = _LEAST_WORDS
        while ends and sum(map(width_of, ends)) > self.text_width - least:
            del ends[max(len(ends) - 2, 0)]
        room = self.text_width - sum(map(width_of, ends))
        shown = [*first]
        for piece in more:
            if width_of([*shown, *piece]) > room:
                break
            shown += piece
        if width_of(shown) > room:
            shown = self.fit(shown, room)
        end = [span for piece in ends for span in piece]
        return self.line(shown, right=end, text=text_of(shown), tint=tint, left_tint=tint)

    def key_hint(self, key: str, text: str, command_id: str) -> list[Span]:
        """Return a gap, the key of a command and its effect; a click on them runs it.

        `key` is the default.
        """
        key = self.user_keys.get(command_id) or key
        # the painter leaves out the key of a message that has no letters
        key_style = self.styles["strong"] + Style(meta={"is_key": True})
        hint = [(f"  {key}", key_style), (f" {text}", self.muted)]
        return clickable(hint, command_id)

    def rule(self, spans: Sequence[Span]) -> Line:
        sign = SIGNS.rule
        faint = self.styles["faint"]
        room = max(self.text_width - _RULE_CELLS, 1)
        shown = [*spans]
        if width_of(shown) > room:
            shown = self.fit(shown, room)
        lead = [(sign * 2 + " ", faint), *shown]
        fill = self.text_width - width_of(lead) - 1  # behind the words and a blank
        text = text_of(shown).strip()
        return self.line([*lead, (" " + sign * max(fill, 0), faint)], text=text)

    def fit(self, spans: list[Span], width: int, *, align: str = "left") -> list[Span]:
        """Pad spans with blanks to a width, or cut them with an ellipsis."""
        if width_of(spans) > width:  # blanks at the end, where a line was wrapped, may stand out
            spans = _without_end(spans)
        shown = spans
        if width_of(spans) > width:
            shown = []
            left = width - 1  # before the ellipsis
            for text, style in spans:
                size = cell_len(text)
                if size > left:  # it is cut, and the spans after it go
                    shown.append((set_cell_size(text, left).rstrip() + SIGNS.cut, style))
                    break
                shown.append((text, style))
                left -= size
        room = width - width_of(shown)  # also of cut text: a wide character may leave a cell
        before = {"right": room, "center": room // 2}.get(align, 0)  # before the text
        null = Style.null()
        return [(" " * before, null), *shown, (" " * (room - before), null)]


def _without_end(spans: list[Span]) -> list[Span]:
    *others, (text, style) = spans
    while others and not text.strip(" "):
        text, style = others.pop()
    return [*others, (text.rstrip(" "), style)]


def clickable(spans: Iterable[Span], act: str) -> list[Span]:
    meta = Style(meta={"act": act})
    return [(words, style + meta) for words, style in spans]
