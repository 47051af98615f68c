"""What is marked in the log: hits of a search, and the text that is selected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lmchat.tui.widgets.chat_log.anchor import END, starts
from lmchat.tui.widgets.chat_log.blocks import Line
from lmchat.tui.widgets.chat_log.copying import is_said, is_said_by_nobody
from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.matching import Range
from lmchat.tui.widgets.chat_log.selection import Selected
from lmchat.tui.widgets.chat_log.view.dragged import DraggedView

_NULL = Style.null()


class MarkedView(DraggedView, can_focus=True):
    """A viewport that shows what was found and what is selected."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chat-log--selected"}

    def has_marks(self) -> bool:
        """Whether anything is marked at all."""
        return self.finder.is_active or self._take_selected() is not None

    def marked(self, place: Place, line: Line, strip: Strip) -> Strip:
        """Return a row with selection and hits marked in it."""
        page = self._page
        if page is None or not line.text:
            return strip
        index, number, row = place
        entry = self.document.entries[index]
        lines = entry.blocks[number].lines or []
        row -= entry.heights[number] - len(lines)
        start = self._left + 1 + line.start
        for first, last, is_now in self.finder.marks(self.document.layout, entry, number, row):
            strip = mark(strip, start + first, start + last, page.styles["hit-now" if is_now else "hit"])
        chosen = self.selected and self._chosen(self.selected, place, row, line)
        if chosen:
            strip = mark(strip, start + chosen[0], start + chosen[1], self._selection_style())
        return strip

    def _selection_style(self) -> Style:
        return self.get_component_rich_style("chat-log--selected")

    def _chosen(self, selected: Selected, place: Place, row: int, line: Line) -> Range | None:
        """Return which characters of a row are selected, as far as they would be copied."""
        index, number, _ = place
        span = selected.span(index, number)
        block = self.document.entries[index].blocks[number]
        if span is None or not (is_said(block) or is_said_by_nobody(self.document, selected)):
            return None
        if span == (0, END):
            return 0, len(line.text)
        at = starts(block.lines or [])[row]
        first, last = max(span[0] - at, 0), min(span[1] - at, len(line.text))
        return (first, last) if first < last else None


def mark(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """Return a row in which the characters from `start` to `end` have a style, too."""
    return Strip(_marked(strip, start, end, style), strip.cell_length)


def _marked(strip: Strip, start: int, end: int, style: Style) -> Iterator[Segment]:
    position = 0
    for text, look, _ in strip:
        first, last = max(start - position, 0), max(end - position, 0)
        for part, is_chosen in (
            (text[:first], False),
            (text[first:last], True),
            (text[max(first, last) :], False),
        ):
            if part:
                # the style comes last: it must win over the colours of the row
                yield Segment(part, (look or _NULL) + style if is_chosen else look)
        position += len(text)
