"""What is marked in the log: hits of a search, and the text that the mouse selected."""

from __future__ import annotations

from typing import Any

from textual.geometry import Offset
from textual.selection import Selection
from textual.strip import Strip

from lmchat.domain.message_path import MessagePath
from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.finding import Finder
from lmchat.tui.widgets.chat_log.line import Line
from lmchat.tui.widgets.chat_log.marking import mark
from lmchat.tui.widgets.chat_log.selecting import clamp, copied, covered
from lmchat.tui.widgets.chat_log.viewport import Viewport, pack


class MarkedView(Viewport, can_focus=True):
    """A viewport in which text can be selected and found."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.finder = Finder()

    def prepend(self, earlier: MessagePath) -> None:
        """Put messages above all others; places of hits move, and a selection made meanwhile ends."""
        if self.text_selection is not None:
            self.screen.clear_selection()
        super().prepend(earlier)
        self.finder.prepend(earlier)

    @property
    def selected_text(self) -> str:
        """What is selected with the mouse."""
        selection = self.text_selection
        return "" if selection is None else copied(self.document, *self._ends(selection))

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the selected text, without frames and padding."""
        if not len(self.document):
            return None
        return copied(self.document, *self._ends(selection)), "\n"

    def text_select_all(self) -> None:
        """Select the focused message: a double click means what is under the pointer, not all of history."""
        if self._cursor is not None:
            start, end = pack((self._cursor, -1, 0)), pack((self._cursor + 1, -1, 0)) - 1
            self.screen.selections = {self: Selection(Offset(0, start), Offset(1 << 30, end))}

    def selection_updated(self, _selection: Selection | None) -> None:
        """Paint what is marked."""
        self.refresh()

    def _ends(self, selection: Selection) -> tuple[Offset, Offset]:
        document, top = self.document, self.scroll_offset.y
        last = max(min(top + self.size.height, document.total) - 1, 0)
        return clamp(selection, document.locate(top), document.locate(last))

    def find(self, query: str) -> int:
        """Mark all hits; return how many there are."""
        top = self.document.locate(self.scroll_offset.y)[0] if len(self.document) else 0
        count = self.finder.find(self.document, query, first=top)
        self.refresh()
        return count

    def clear_find(self) -> None:
        """Mark hits no more."""
        self.finder.clear()
        self.refresh()

    def has_marks(self) -> bool:
        """Whether anything is marked at all."""
        return self.finder.is_active or self.text_selection is not None

    def marked(self, place: Place, line: Line, strip: Strip) -> Strip:
        """Return a row with selection and hits marked in it."""
        page = self._page
        if page is None or not line.text:
            return strip
        start = self._left + 1 + line.start
        if self.finder.is_active:
            index, number, row = place
            lines = self.document.entries[index].blocks[number].lines or []
            row -= self.document.entries[index].heights[number] - len(lines)
            style = page.styles["hit-now" if place == self.finder.place else "hit"]
            for first, last in self.finder.ranges(lines, row):
                strip = mark(strip, start + first, start + last, style)
        selection = self.text_selection
        chosen = selection and covered(*self._ends(selection), pack(place), len(line.text))
        if chosen:
            style = self.screen.get_component_rich_style("screen--selection")
            strip = mark(strip, start + chosen[0], start + chosen[1], style)
        return strip
