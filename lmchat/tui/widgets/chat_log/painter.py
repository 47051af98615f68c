"""Painter: rows of a document as strips, with hits and the selection marked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip

from lmchat.tui.widgets.chat_log.anchor import END, starts
from lmchat.tui.widgets.chat_log.blocks import Line
from lmchat.tui.widgets.chat_log.copying import is_annotation_alone
from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.finder import Finder
from lmchat.tui.widgets.chat_log.layout.page import Page
from lmchat.tui.widgets.chat_log.matching import Range
from lmchat.tui.widgets.chat_log.selection import Selected, Selection
from lmchat.tui.widgets.chat_log.viewport import Viewport

# styles of words, each a component class of the style sheet
PARTIAL_STYLES = (
    "muted", "faint", "strong", "em", "s", "link", "code", "quote", "h1", "h2", "h3", "warning", "error",
    "focus", "cursor", "keyword", "string", "number", "comment", "function", "builtin", "hit", "hit-now",
)  # fmt: skip
_NULL = Style.null()


# width, left margin, colour filters and background: what a painted row depends on beside its line
Look = tuple[int, int, Sequence[LineFilter], Color]


class Painter:
    """Paints rows of the viewport's document. Unmarked rows stay painted on their lines."""

    def __init__(self, viewport: Viewport, finder: Finder, selection: Selection) -> None:
        self.page: Page | None = None
        self.left = 0  # cells to the left of the page
        self.selected_style = _NULL
        self._viewport = viewport
        self._finder = finder
        self._selection = selection
        self._look: Look = (0, 0, (), Color(0, 0, 0))

    def rows(self, y: int, count: int, look: Look, *, has_focus: bool) -> list[Strip]:
        page, viewport = self.page, self._viewport
        if page is None:
            return [Strip.blank(look[0])] * count
        if look != self._look:
            self._look = look  # another object: rows painted with the old one are painted again
        look = self._look
        blank = self._finish(Strip.blank(look[0], page.styles["base"]))
        focused = viewport.cursor if has_focus else None
        selected = self._selection.current()
        has_marks = self._finder.is_active or selected is not None
        strips = []
        for place, line in viewport.document.rows(viewport.top + y, count):
            is_focused = place[0] == focused and place[1] >= 0
            if line is None:
                strips.append(
                    self._finish(self._paint(page, None, is_focused=True)) if is_focused else blank
                )
            elif is_focused or has_marks:
                strip = self._paint(page, line, is_focused=is_focused)
                strips.append(self._finish(self._marked(page, place, line, selected, strip)))
            else:
                if line.painted is None or line.look is not look:
                    line.painted, line.look = (
                        self._finish(self._paint(page, line, is_focused=False)),
                        look,
                    )
                strips.append(line.painted)
        return strips + [blank] * (count - len(strips))

    def _finish(self, strip: Strip) -> Strip:
        _, _, filters, background = self._look
        for line_filter in filters:
            strip = strip.apply_filter(line_filter, background)
        return strip

    def _paint(self, page: Page, line: Line | None, *, is_focused: bool) -> Strip:
        base = page.styles["base"]
        bar = "focus" if is_focused else line.bar if line else ""
        ground = page.styles[line.tint] if line else base
        segments = [Segment(" " * self.left, base)]
        segments.append(
            Segment(page.icons.bar, ground + page.styles[bar]) if bar else Segment(" ", ground)
        )
        if line is not None:
            segments += line.hint if is_focused and line.hint else line.segments
        return Strip(segments).adjust_cell_length(self._look[0], base)

    def _marked(
        self, page: Page, place: Place, line: Line, selected: Selected | None, strip: Strip
    ) -> Strip:
        if not line.text:
            return strip
        index, number, row = place
        entry = self._viewport.document.entries[index]
        block = entry.blocks[number]
        row -= entry.heights[number] - len(block.lines or [])
        start = self.left + 1 + line.start
        for first, last, is_now in self._finder.marks(place, block, row):
            strip = mark(
                strip, start + first, start + last, page.styles["hit-now" if is_now else "hit"]
            )
        chosen = self._chosen(selected, place, row, line) if selected is not None else None
        if chosen:
            strip = mark(strip, start + chosen[0], start + chosen[1], self.selected_style)
        return strip

    def _chosen(self, selected: Selected, place: Place, row: int, line: Line) -> Range | None:
        """Return which characters of a row are selected and would be copied."""
        index, number, _ = place
        span = selected.span(index, number)
        document = self._viewport.document
        block = document.entries[index].blocks[number]
        if span is None or not (block.source or is_annotation_alone(document, selected)):
            return None
        if span == (0, END):
            return 0, len(line.text)
        at = starts(block)[row]
        first, last = max(span[0] - at, 0), min(span[1] - at, len(line.text))
        return (first, last) if first < last else None


def mark(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """Return a row with a style added to the characters from `start` to `end`."""
    segments, position = [], 0
    for text, look, _ in strip:
        first, last = max(start - position, 0), max(end - position, 0)
        # the style comes last: it must win over the colours of the row
        marked = Segment(text[first:last], (look or _NULL) + style)
        segments += [Segment(text[:first], look), marked, Segment(text[max(first, last) :], look)]
        position += len(text)
    return Strip([segment for segment in segments if segment.text], strip.cell_length)
