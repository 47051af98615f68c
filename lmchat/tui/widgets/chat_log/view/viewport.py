"""The scrolling part of the log: what is on the screen, and that it does not move by itself."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.geometry import Size

from lmchat.domain.path import MessagePath
from lmchat.tui.widgets.chat_log.anchor import Hold, find, laid, take
from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.view.painted import PaintedView


class Viewport(PaintedView, can_focus=True):
    """Shows a document from some row on; keeps the lines near the screen laid out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_following = True
        self._hold: Hold | None = None
        """What stays where it is while the end is not followed: set where one scrolls, kept by all else."""
        self._is_settling = False
        self._settled_size = Size(0, 0)

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
        """Forget all lines; what is read stays where it is."""
        if not self.outer_size.width:
            return
        self.take_page()
        self.settle()
        self.refresh()

    def settle(self, *, changed: Place | None = None) -> None:
        """Lay out what is on the screen and a screenful around it without moving what the reader sees.

        `changed` is the first line that may look different.
        """
        if not len(self.document):
            if self.virtual_size.height:  # else it need not wait for its styles, as the first paint does not
                self.virtual_size = Size(1, 0)
                self.scroll_y = 0
            return
        if self._page is None:
            self.restyle()
            return
        self._settled_size = self.outer_size
        self._is_settling = True
        try:
            target = self._lay_out()
            if self.document.trim():  # what was forgotten may be on the screen, which is said once
                target = self._lay_out()
            self._show(target, changed)
        finally:
            self._is_settling = False

    def _lay_out(self) -> int:
        """Lay out what is near the screen; return its first row."""
        document, height = self.document, max(self.size.height, 1)
        if self.is_following:
            document.sweep(len(document) - 1, None, -1, 2 * height)
            target = max(document.total - height, 0)
        else:
            target = self._held(height)
        self.virtual_size = Size(1, document.total)
        return target

    def _held(self, height: int) -> int:
        """Return the first row of the screen with which what is held stands where it stood."""
        document = self.document
        hold = self._hold = self._hold or self.grip()
        place = find(document, hold)
        offset = min(hold.offset, height - 1)
        document.surround(place, height + offset, 2 * height)
        target = max(min(document.position(place) - offset, document.total - height), 0)
        if hold.block is None and hold.row:  # what was not laid out then is now
            self._hold = self.grip(target)
        return target

    def grip(self, y: int | None = None) -> Hold:
        """Return what is to stay where it is, if the screen begins with a row: that row."""
        return take(self.document, self.document.locate(self.scroll_offset.y if y is None else y))

    def keep_still(self) -> None:
        """Hold what is on the screen now; to be called before anything changes."""
        if self.is_following or not len(self.document) or self._page is None:
            return
        hold, top = self._hold, self.scroll_offset.y
        if hold is None or self.document.position(find(self.document, hold)) - hold.offset != top:
            self._hold = self.grip()

    def prepend(self, earlier: MessagePath) -> None:
        """Put messages above all others; what is on the screen stays where it is."""
        count = len(earlier)
        self.keep_still()
        if self._cursor is not None:
            self._cursor += count
        for hold in self.holds():
            hold.index += count
        self.document.prepend(earlier)
        self.settle()

    def holds(self) -> list[Hold]:
        """Return the places that are kept, each once: what changes elsewhere must not move them."""
        return list({id(one): one for one in self.kept_places() if one is not None}.values())

    def kept_places(self) -> list[Hold | None]:
        """Return what is to be found again, some of it perhaps twice: here what is read."""
        return [self._hold]

    def _show(self, target: int, changed: Place | None) -> None:
        if target != round(self.scroll_y):
            self.move_to(target)
        elif changed is not None:
            first = self.document.position(changed)
            self.refresh_lines(first, max(target + self.size.height - first, 1))
        self.count_new_lines()

    def move_to(self, y: int) -> None:
        """Let the screen begin with another row."""
        self.scroll_to(y=y, force=True)

    def count_new_lines(self) -> None:
        """Tell how many lines came since the end was on the screen."""

    def leave_end(self) -> None:
        """Follow the end no more."""
        self.is_following = False

    @property
    def is_at_end(self) -> bool:
        """Whether the last row is on the screen."""
        return self.scroll_offset.y >= self.max_scroll_y

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end from when it is reached until it is left."""
        super().watch_scroll_y(old_value, new_value)
        if self._page is None or self._is_settling or round(old_value) == round(new_value):
            return
        if not len(self.document):
            return
        if self._settled_size != self.outer_size:
            return  # a larger screen pushed it; `on_resize` puts it right
        if self.is_at_end:
            self.is_following = True
        elif self.is_following:
            self.leave_end()
        self.hold_here()

    def hold_here(self) -> None:
        """Hold what has come to the top of the screen, unless the end is followed."""
        if not self.is_following:
            self._hold = take(self.document, self.document.locate(self.scroll_offset.y))
            self.settle()
            self._hold = self.grip()
        self.count_new_lines()

    def show_at(self, place: Place, offset: int = 0) -> None:
        """Bring a place so many rows below the top of the screen; at the end, the end is followed."""
        if self.is_following:
            self.leave_end()
        self._hold = take(self.document, laid(self.document, place), offset)
        self.settle()
        self.is_following = self.is_at_end
        self.count_new_lines()
        self.refresh()

    def show_entry(self, index: int) -> None:
        """Scroll a message into view, by as little as possible."""
        document, height = self.document, self.size.height
        document.sweep(index, 0, 1, height)
        document.sweep(index - 1, None, -1, height)
        self.settle()
        top, rows = document.heights.top(index), document.heights[index]
        bottom = top + rows
        if top < self.scroll_offset.y or rows >= height:
            self.show_at((index, -1, 0))
        elif bottom > self.scroll_offset.y + height:
            self.scroll_to(y=bottom - height)

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """Scroll at once: a height corrected on the way would end an animation short of its target."""
        super().scroll_to(x, y, **(options | {"animate": False}))
        if y is not None and not self._is_settling:
            self._follow_from_end(y)

    def on_mouse_scroll_down(self) -> None:
        """Follow the end again where there is nothing below."""
        self._follow_from_end(self.scroll_offset.y + 1)

    def _follow_from_end(self, y: float) -> None:
        """Follow the end again: it was on the screen already, and one wants to go further down."""
        if not self.is_following and self.is_at_end and y >= self.max_scroll_y and self._page is not None:
            self.scroll_end()

    def scroll_end(self, **_options: Any) -> None:
        """Follow the end again."""
        self.is_following = True
        self.settle()
        self.count_new_lines()

    def _place_at(self, y: int) -> Place | None:
        y += self.scroll_offset.y
        if self._page is None or not 0 <= y < self.document.total:
            return None
        return self.document.locate(y)
