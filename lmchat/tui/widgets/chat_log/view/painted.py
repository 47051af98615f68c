"""Rows of a document as they are painted: the page that they are written on, and its margins."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region, Size
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lmchat.tui.icons import signs_for
from lmchat.tui.widgets.chat_log.blocks import Line
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.layout.page import MIN_WIDTH, Page
from lmchat.tui.widgets.row_list import fit_scrollbar

MEASURE = 94
"""Columns of a page at most."""
PARTIAL_STYLES = (
    "muted", "faint", "strong", "em", "s", "link", "code", "quote", "h1", "h2", "h3", "warning", "error",
    "focus", "cursor", "keyword", "string", "number", "comment", "function", "builtin", "hit", "hit-now",
)  # fmt: skip
"""Styles of words, each a component class of the style sheet."""


class PaintedView(ScrollView, can_focus=True):
    """Paints the rows of a document that stand in its window."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chat-log--margin",
        "chat-log--panel",
        *(f"chat-log--{name}" for name in PARTIAL_STYLES),
    }

    virtual_size: Reactive[Size] = Reactive(Size(0, 0))
    """Without the layout of the screen that Textual does for each new line: half the work of streaming."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.set_reactive(PaintedView.auto_links, False)  # links are found in lines, not by hovering
        self.document = Document()
        self._page: Page | None = None
        self._base = Style.null()
        self._left = 0
        self._focused: int | None = None
        self._look: tuple[int, tuple[LineFilter, ...], Color | None] = (0, (), None)

    def on_mount(self) -> None:
        """Draw the scrollbar in ASCII where nothing else can be drawn."""
        fit_scrollbar(self)

    @property
    def _cursor(self) -> int | None:
        """The message that has the focus where the log has it."""
        return self._focused

    @_cursor.setter
    def _cursor(self, index: int | None) -> None:
        if index != self._focused:
            self._focused = index
            self.cursor_moved()

    def cursor_moved(self) -> None:
        """Tell that another message has the focus; a bare view tells nobody."""

    def take_page(self) -> None:
        """Lay all out on a page of the width and the styles of now."""
        self._left = self._geometry()[0]
        self._page = self._make_page()
        self._base = self._page.styles["base"]
        self.document.set_page(self._page)

    def _make_page(self) -> Page:
        styles = {
            name: self.get_component_rich_style(f"chat-log--{name}", partial=True) for name in PARTIAL_STYLES
        }
        panel = self.get_component_rich_style("chat-log--panel", partial=True)
        styles |= {"base": self.rich_style, "panel": self.rich_style + panel}
        return Page(self._geometry()[1], styles, signs_for(self), has_tints=not self.app.current_theme.ansi)

    def _geometry(self) -> tuple[int, int]:
        """Return where the page begins and how wide it is; the scrollbar always has its column."""
        margin = self.get_component_styles("chat-log--margin").padding
        room = self.outer_size.width - self.styles.scrollbar_size_vertical - margin.width
        extra = max((room - MEASURE) // 2, 0)
        return margin.left + extra, max(min(room, MEASURE), MIN_WIDTH)

    def watch_virtual_size(self, size: Size) -> None:
        """Bring the scrollbar up to date; only where it comes or goes, the screen is laid out."""
        height = self.container_size.height
        self.show_vertical_scrollbar = 0 < height < size.height
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.window_virtual_size = size.height
            self.vertical_scrollbar.window_size = height
        self.scroll_y = self.validate_scroll_y(self.scroll_y)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return rows as they are painted; there is no border and no opacity that would need more."""
        filters = tuple(self.get_line_filters())
        look = (self.size.width, filters, self.background_colors[1] if filters else None)
        if look != self._look:
            self._look = look  # another object: whatever was painted with the old one is painted anew
        strips = self._rows(crop.y, crop.height)
        if crop.x or crop.right < self.size.width:
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        """Return a row as it is painted, where Textual wants to know what stands under the mouse."""
        return self._rows(y, 1)[0]

    def _rows(self, y: int, count: int) -> list[Strip]:
        """Return rows of the screen."""
        width, look = self.size.width, self._look
        if self._page is None:
            return [Strip.blank(width, self.rich_style)] * count
        blank = self._finish(Strip.blank(width, self._base))
        focused = self._cursor if self.has_focus else None
        has_marks = self.has_marks()
        strips = []
        for place, line in self.document.rows(self.scroll_offset.y + y, count):
            has_focus = place[0] == focused and place[1] >= 0
            if line is None:
                strips.append(self._finish(self._paint(None, width, has_focus=True)) if has_focus else blank)
            elif has_focus or has_marks:
                strip = self._paint(line, width, has_focus=has_focus)
                strips.append(self._finish(self.marked(place, line, strip) if has_marks else strip))
            else:
                if line.painted is None or line.look is not look:
                    line.painted, line.look = self._finish(self._paint(line, width, has_focus=False)), look
                strips.append(line.painted)
        return strips + [blank] * (count - len(strips))

    def _finish(self, strip: Strip) -> Strip:
        """Return a row in the colours that the terminal has."""
        _, filters, background = self._look
        for line_filter in filters:
            strip = strip.apply_filter(line_filter, background or self.background_colors[1])
        return strip

    def _paint(self, line: Line | None, width: int, *, has_focus: bool) -> Strip:
        page = self._page
        if page is None:
            return Strip.blank(width, self._base)
        bar = "focus" if has_focus else line.bar if line else ""
        ground = page.styles[line.tint] if line else self._base
        segments = [Segment(" " * self._left, self._base)]
        segments.append(Segment(page.signs.bar, ground + page.styles[bar]) if bar else Segment(" ", ground))
        if line is not None:
            segments += line.hint if has_focus and line.hint else line.segments
        return Strip(segments).adjust_cell_length(width, self._base)

    def has_marks(self) -> bool:
        """Whether anything is marked at all; a bare view marks nothing."""
        return False

    def marked(self, place: Place, line: Line, strip: Strip) -> Strip:
        """Return a row with what is marked in it; a bare view leaves it as it is."""
        del place, line
        return strip
