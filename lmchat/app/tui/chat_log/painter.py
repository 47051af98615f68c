"""Painter: rows of a document as strips, with hits and the selection marked.

The first column of a page is the bar, which marks the focused message, prompts and cards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from math import ceil

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar
from textual.strip import Strip
from textual.widget import Widget

from lmchat.app.markdown_lines.block import Line
from lmchat.app.markdown_lines.highlighter import Colours
from lmchat.app.markdown_lines.page import MIN_WIDTH, Page
from lmchat.app.tui.chat_log.anchor import row_starts
from lmchat.app.tui.chat_log.document import LogPosition
from lmchat.app.tui.chat_log.find import Finder
from lmchat.app.tui.chat_log.greeting import LOOKING, StyledWords, greeting_rows
from lmchat.app.tui.chat_log.selection import TextSelection
from lmchat.app.tui.chat_log.viewport import Viewport
from lmchat.app.tui.line_filters import AsciiFilter, safe_strip
from lmchat.base.units import SIGNS

_STEPS_PER_ROW = 8  # Textual draws the ends of a thumb in eighths


def rows_region(log: ScrollView, y: int, count: int) -> Region:
    """Return the region of `count` rows from row `y` of the screen on, without the scrollbar.

    Its column costs as much to paint as the rows. `Painter.fit` keeps it free, so that the text is
    not wrapped again when the bar appears.
    """
    return Region(0, y, log.size.width - log.styles.scrollbar_size_vertical, count)


class Thumb(Struct, eq=False):
    """Thumb of a scrollbar, painted only where it looks different.

    Painting the bar takes half as long as the text.
    """

    _log: ScrollView
    _painted: tuple[int, int] = (0, 0)  # first row and size, in steps
    _ends: tuple[int, int] = (0, 0)  # rows with the beginning and the end of the thumb

    def move(self, *, is_growing: bool) -> None:
        """Show the scroll position; while text arrives, in whole rows only."""
        height = self._log.container_size.height
        total = self._log.virtual_size.height
        if not 0 < height < total:
            return
        bar = self._log.vertical_scrollbar
        # without the watchers, which would paint the bar
        bar.set_reactive(ScrollBar.window_virtual_size, total)
        bar.set_reactive(ScrollBar.window_size, height)
        bar.set_reactive(ScrollBar.position, self._log.scroll_y)

        size = max(height * height / total, 1)  # in rows
        start = (height - size) * self._log.scroll_y / (total - height)
        steps = 1 if is_growing else _STEPS_PER_ROW
        thumb = (int(start * steps), ceil(size * steps))
        if thumb != self._painted:
            self._painted = thumb
            ends = (int(start), int(start + size))
            for before, now in zip(self._ends, ends, strict=True):
                if before == now and is_growing:
                    continue
                first, last = sorted((before, now))
                # and the next row: sizes are rounded up
                rows = Region(0, first, bar.size.width, last - first + 2)
                bar.refresh(rows.intersection(bar.size.region))
            self._ends = ends


_WIDEST_PAGE = 94  # columns; longer lines are hard to read
TINTS = ("panel", "label")  # of prompts, cards and code, and of the first row of code
# component classes of the style sheet
PARTIAL_STYLES = (
    "muted", "faint", "strong", "em", "s", "link", "code", "quote", "h1", "h2", "h3", "mark",
    "name", "warning", "error", "focus", "cursor", "keyword", "string", "number", "comment",
    "function", "builtin", "hit", "hit-now",
)  # fmt: skip
_NULL = Style.null()


class Look(Struct, frozen=True):
    """All that a painted row depends on but its line."""

    width: int
    left: int  # of the page
    filters: Sequence[LineFilter]
    background: Color


class Painter(Struct, eq=False):
    """Paints rows of the viewport's document. `Line.painted` keeps those without marks."""

    _viewport: Viewport
    _finder: Finder
    _selection: TextSelection
    _user_keys: Mapping[str, str]
    page: Page | None = None  # None until `fit` is called first
    greeting: tuple[StyledWords, ...] = LOOKING  # what an empty log says
    left: int = 0  # cells to the left of the page
    _selected_style: Style = _NULL
    _look: Look = Look(0, 0, (), Color(0, 0, 0))  # `rows` replaces it

    def fit(self, log: Widget, *, today: date | None, colours: Colours) -> Page | None:
        """Make the page for the width and theme of the log; None if it is the same."""
        styles = {
            name: log.get_component_rich_style(f"chat-log--{name}", partial=True)
            for name in PARTIAL_STYLES
        }
        styles["base"] = log.rich_style
        for tint in TINTS:
            style = log.get_component_rich_style(f"chat-log--{tint}", partial=True)
            styles[tint] = log.rich_style + style
        margin = log.get_component_styles("chat-log--margin").padding
        # always with its column: see `rows_region`
        room = log.outer_size.width - log.styles.scrollbar_size_vertical - margin.width
        self.left = margin.left + max((room - _WIDEST_PAGE) // 2, 0)
        self._selected_style = log.get_component_rich_style("chat-log--selected")
        page = Page(
            max(min(room, _WIDEST_PAGE), MIN_WIDTH),
            styles,
            has_tints=not log.app.current_theme.ansi,  # the terminal's own colours have none
            has_colours=not log.app.no_color,
            today=today,
            colours=colours,
            is_ascii=any(
                isinstance(line_filter, AsciiFilter) for line_filter in log.get_line_filters()
            ),
            user_keys=self._user_keys,
        )
        if page == self.page:
            return None
        self.page = page
        return page

    def cell_after_bar(self, x: int) -> int:
        """Return the cell of the page at a column of the log; 0 is right of the bar."""
        return x - self.left - 1

    def rows(self, log: Widget, y: int, count: int) -> list[Strip]:
        """Return `count` rows of the screen from row `y` on; below the end, rows are blank."""
        filters = tuple(log.get_line_filters())
        _, background = log.background_colors  # of what is behind the log, and of the log
        look = Look(log.size.width, self.left, filters, background)
        if look == self._look:  # lines compare their look with `is`
            look = self._look
        self._look = look
        page = self.page
        viewport = self._viewport
        # Textual makes this style again each time
        base = log.rich_style if page is None else page.styles["base"]
        blank = self._filtered(Strip.blank(look.width, base))
        if page is None or not len(viewport.document):
            greeting = greeting_rows(self.greeting, self._user_keys, look.width, log.size.height)
            strips = [
                self._greeting_strip(log, base, row) if row else blank
                for row in greeting[y : y + count]
            ]
            return strips + [blank] * (count - len(strips))

        blank_line = Line([], painted=blank, painted_look=look)
        chosen = viewport.focused if viewport.has_choice() else None
        has_marks = self._finder.is_active or self._selection.selected is not None
        strips = []
        for position, line_or_none in viewport.document.rows(viewport.top + y, count):
            # the blank row above has no bar
            is_chosen = position.message_index == chosen and position.number >= 0
            is_dim = viewport.document.entries[position.message_index].message.is_excluded
            line = line_or_none or blank_line
            if is_chosen or has_marks or is_dim:
                choice = ("faint", "focus")[log.has_focus] if is_chosen else ""
                strip = self._paint(page, line, choice, is_dim=is_dim)
                strips.append(self._filtered(self._marked(page, position, line, strip)))
            else:
                if line.painted is None or line.painted_look is not look:
                    line.painted = self._filtered(self._paint(page, line))
                    line.painted_look = look
                strips.append(line.painted)
        return strips + [blank] * (count - len(strips))

    def _greeting_strip(self, log: Widget, base: Style, row: Sequence[StyledWords]) -> Strip:
        segments = []
        for words, name in row:
            names = [f"chat-log--{part}" for part in name.split()]
            style = log.get_component_rich_style(*names, partial=True) if names else _NULL
            segments.append(Segment(words, base + style))
        return self._filtered(Strip(segments).adjust_cell_length(self._look.width, base))

    def _filtered(self, strip: Strip) -> Strip:
        """Make a strip safe, and apply the filters of the app, as of `NO_COLOR`."""
        strip = safe_strip(strip)
        for line_filter in self._look.filters:
            strip = strip.apply_filter(line_filter, self._look.background)
        return strip

    def _paint(self, page: Page, line: Line, choice: str = "", *, is_dim: bool = False) -> Strip:
        """Paint a line with its bar and the margins, but without hits and selection.

        In the chosen message, a hint replaces the text. `choice` is its bar: `focus`, or `faint`
        for a mark, whose hint has blanks in place of the keys.
        """
        base = page.styles["base"]
        ground = page.styles[line.left_tint]
        bar = choice if choice == "focus" else line.bar or choice
        segments = [Segment(" " * self.left, base)]
        if bar:
            segments.append(Segment(SIGNS.bar, ground + page.styles[bar]))
        else:
            segments.append(Segment(" ", ground))
        words = (choice and line.hint) or line.segments
        if choice == "faint" and line.hint:
            words = list(map(_without_key, line.hint))
        if is_dim:
            words = list(Segment.apply_style(words, post_style=page.muted))
        segments += words
        return Strip(segments).adjust_cell_length(self._look.width, base)

    def _marked(self, page: Page, position: LogPosition, line: Line, strip: Strip) -> Strip:
        if not line.text:
            return strip
        document = self._viewport.document
        block = document.block(position)
        row = position.row - document.blank_rows(position)
        start = self.left + 1 + line.start  # 1: the bar
        for first, last, is_current in self._finder.marks(position, block, row):
            style = page.styles["hit-now" if is_current else "hit"]
            strip = mark(strip, start + first, start + last, style)
        selected = self._selection.selected
        if selected is None:
            return strip
        # what the log writes is marked only if nothing else is selected
        can_be_marked = block.source or selected.is_in_own_row
        span = selected.span(position.message_index, position.number) if can_be_marked else None
        if span is None:
            return strip
        row_start = row_starts(block)[row]  # `span` counts from the start of the block
        first = max(span[0] - row_start, 0)
        last = min(span[1] - row_start, len(line.text))
        if first < last:
            strip = mark(strip, start + first, start + last, self._selected_style)
        return strip


def _without_key(segment: Segment) -> Segment:
    is_key = segment.style is not None and segment.style.meta.get("is_key")
    return Segment(" " * segment.cell_length, segment.style) if is_key else segment


def mark(strip: Strip, start: int, end: int, style: Style) -> Strip:
    segments = []
    position = 0
    for text, text_style, _ in strip:
        first = max(start - position, 0)  # of this segment
        last = max(end - position, 0)
        # last: it replaces the colours of the row
        marked_style = (text_style or _NULL) + style
        segments.append(Segment(text[:first], text_style))
        segments.append(Segment(text[first:last], marked_style))
        segments.append(Segment(text[last:], text_style))
        position += len(text)
    return Strip([segment for segment in segments if segment.text], strip.cell_length)
