"""The scrolling part of the log: what is on the screen, and that it does not move by itself."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.scrollbar import ScrollBar
from textual.strip import Strip

from lmchat.domain.message_path import MessagePath
from lmchat.tui.quirks.painting import adopt, adopted, grow
from lmchat.tui.quirks.styles import LateComponents
from lmchat.tui.signs import signs_for
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.line import Line
from lmchat.tui.widgets.chat_log.page import MIN_WIDTH, Page
from lmchat.tui.widgets.chat_log.scroll_bar import QuietScrollBar

MEASURE = 94
"""Columns of a page at most."""
PARTIAL_STYLES = (
    "muted", "faint", "strong", "em", "s", "link", "code", "quote", "h1", "h2", "h3", "warning", "error",
    "focus", "cursor", "keyword", "string", "number", "comment", "function", "builtin", "hit", "hit-now",
)  # fmt: skip
"""Styles of words, each a component class of the style sheet."""
_ENTRY_BITS, _BLOCK_BITS = 40, 20


class Viewport(LateComponents, can_focus=True):
    """Shows a document; keeps the lines near the screen laid out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chat-log--margin",
        "chat-log--panel",
        *(f"chat-log--{name}" for name in PARTIAL_STYLES),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.set_reactive(Viewport.auto_links, False)  # links are found in lines, not by hovering
        self.document = Document()
        self.is_following = True
        self._page: Page | None = None
        self._base = Style.null()
        self._left = 0
        self._mark: tuple[int, int] | None = None
        self._cursor: int | None = None

    def on_resize(self, _event: events.Resize) -> None:
        """Lay out anew if the width changed."""
        if self._page is not None and self._geometry() != (self._left, self._page.width):
            self.restyle()
        else:
            self.settle()

    def notify_style_update(self) -> None:
        """Lay out anew with the styles of another theme."""
        super().notify_style_update()
        if self._page is not None and self.is_mounted:
            self.call_next(self._take_styles)  # those of the component classes follow right after

    def _take_styles(self) -> None:
        if self._make_page() != self._page:
            self.restyle()

    def restyle(self) -> None:
        """Forget all lines; what stands at the top of the screen stays there."""
        if not self.outer_size.width:
            return
        self.make_component_styles()
        anchor = None
        if len(self.document) and not self.is_following and self._page is not None:
            index, number, _ = self.document.locate(self.scroll_offset.y)
            anchor = index, number, 0
        self._left = self._geometry()[0]
        self._page = self._make_page()
        self._base = self._page.styles["base"]
        self.document.set_page(self._page)
        self._mark = None
        self.settle(anchor=anchor)
        self.refresh()

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

    def settle(
        self, *, changed: Place | None = None, anchor: Place | None = None, offset: int | None = None
    ) -> None:
        """Lay out what is on the screen and a screenful around it without moving what the reader sees.

        `changed` is the first line that may look different, `anchor` what is to stay `offset` lines below
        the top.
        """
        if not len(self.document):
            return  # an empty log needs no page: the first paint does not wait for its styles
        if self._page is None:
            self.restyle()
            return
        document, height = self.document, max(self.size.height, 1)
        if self.is_following:
            document.sweep(len(document) - 1, None, -1, 2 * height)
            target = max(document.total - height, 0)
        else:
            if anchor is None:
                anchor, offset = document.locate(self.scroll_offset.y), 0
            document.surround(anchor, height + (offset or 0), 2 * height)
            target = max(min(document.position(anchor) - (offset or 0), document.total - height), 0)
        grow(self, Size(1, document.total))
        if document.trim():
            self.settle(changed=changed, anchor=anchor, offset=offset)
            return
        self._show(target, changed)

    def prepend(self, earlier: MessagePath) -> None:
        """Put messages above all others; what is on the screen stays where it is."""
        count = len(earlier)
        anchor = None
        if len(self.document) and not self.is_following:
            index, number, line = self.document.locate(self.scroll_offset.y)
            anchor = index + count, number, line
        if self._cursor is not None:
            self._cursor += count
        if self._mark is not None:
            self._mark = self._mark[0] + count, self._mark[1]
        self.document.prepend(earlier)
        self.settle(anchor=anchor)

    def _show(self, target: int, changed: Place | None) -> None:
        if target != round(self.scroll_y):
            self.scroll_to(y=target, force=True)
        elif changed is not None:
            first = self.document.position(changed)
            self.refresh_lines(first, max(target + self.size.height - first, 1))
        self.count_new_lines()

    def count_new_lines(self) -> None:
        """Tell how many lines came since the end was on the screen."""

    @property
    def vertical_scrollbar(self) -> ScrollBar:
        """The scrollbar; it is made when it is first needed."""
        bar = adopted(self)
        if bar is None:
            bar = QuietScrollBar(thickness=self.styles.scrollbar_size_vertical)
            adopt(self, bar)
        return bar

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end from when it is reached until it is left."""
        super().watch_scroll_y(old_value, new_value)
        if self._page is None or round(old_value) == round(new_value):
            return
        self.is_following = round(new_value) >= self.max_scroll_y
        if not self.is_following:
            self.settle()
        self.count_new_lines()

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """Scroll at once: a height corrected on the way would end an animation short of its target."""
        super().scroll_to(x, y, **(options | {"animate": False}))

    def scroll_end(self, **_options: Any) -> None:
        """Follow the end again."""
        self.is_following = True
        self.settle()
        self.count_new_lines()

    def render_line(self, y: int) -> Strip:
        """Return a row with the places of its characters, from which a selection is made."""
        place = self._place_at(y)
        strip = self._rows(y, 1)[0]
        if place is None:
            return strip
        line = self.document.line(place)
        return strip.apply_offsets(-self._left - 1 - (line.start if line else 0), pack(place))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return rows as they are painted; there is no border and no opacity that would need more."""
        filters, background = self.get_line_filters(), self.background_colors[1]
        strips = self._rows(crop.y, crop.height)
        for line_filter in filters:
            strips = [strip.apply_filter(line_filter, background) for strip in strips]
        if crop.column_span != (0, self.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _place_at(self, y: int) -> Place | None:
        y += self.scroll_offset.y
        if self._page is None or not 0 <= y < self.document.total:
            return None
        return self.document.locate(y)

    def _rows(self, y: int, count: int) -> list[Strip]:
        """Return rows of the screen."""
        width = self.size.width
        if self._page is None:
            return [Strip.blank(width, self.rich_style)] * count
        blank = Strip.blank(width, self._base)
        focused = self._cursor if self.has_focus else None
        has_marks = self.has_marks()
        strips = []
        for place, line in self.document.rows(self.scroll_offset.y + y, count):
            has_focus = place[0] == focused and place[1] >= 0
            if line is None:
                strips.append(self._paint(None, width, has_focus=True) if has_focus else blank)
            elif has_focus or has_marks:
                strip = self._paint(line, width, has_focus=has_focus)
                strips.append(self.marked(place, line, strip) if has_marks else strip)
            else:
                if line.painted is None or line.painted.cell_length != width:
                    line.painted = self._paint(line, width, has_focus=False)
                strips.append(line.painted)
        return strips + [blank] * (count - len(strips))

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
        """Whether anything is marked at all; a bare viewport marks nothing."""
        return False

    def marked(self, place: Place, line: Line, strip: Strip) -> Strip:
        """Return a row with what is marked in it; a bare viewport leaves it as it is."""
        del place, line
        return strip


def pack(place: Place) -> int:
    """Return a place as one number that grows downwards and does not shift while the log grows."""
    index, number, line = place
    return index << _ENTRY_BITS | (number + 1) << _BLOCK_BITS | line


def unpack(key: int) -> Place:
    """Return the place of such a number."""
    return key >> _ENTRY_BITS, (key >> _BLOCK_BITS & (1 << _BLOCK_BITS) - 1) - 1, key & (1 << _BLOCK_BITS) - 1
