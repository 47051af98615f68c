"""The log's scrollbar: its column, and its thumb, painted only when it looks different."""

from __future__ import annotations

from math import ceil

from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar

_STEPS_PER_ROW = 8  # Textual draws the ends of a thumb in eighths of a row


def rows_region(log: ScrollView, y: int, count: int) -> Region:
    """Return the region of `count` rows from row `y` of the screen on, without the scrollbar.

    The column of the scrollbar costs as much to paint as the rows.
    """
    return Region(0, y, log.size.width - log.styles.scrollbar_size_vertical, count)


class Thumb:
    """The thumb of a scrollbar, which is painted only when it looks different.

    Painting the bar takes half as long as painting the text.
    """

    def __init__(self, log: ScrollView) -> None:
        self._log = log
        self._painted = (0, 0)  # its first row and its size, in steps

    def move(self, *, is_growing: bool) -> None:
        """Show the scroll position; while text arrives, paint the thumb in whole rows only.

        Without anything to scroll, do nothing.
        """
        height = self._log.container_size.height
        total = self._log.virtual_size.height
        if not 0 < height < total:
            return
        bar = self._log.vertical_scrollbar
        # without the watchers of these reactives, which would paint the bar
        bar.set_reactive(ScrollBar.window_virtual_size, total)
        bar.set_reactive(ScrollBar.window_size, height)
        bar.set_reactive(ScrollBar.position, self._log.scroll_y)

        size = max(height * height / total, 1)  # in rows, as the start
        start = (height - size) * self._log.scroll_y / (total - height)
        steps = 1 if is_growing else _STEPS_PER_ROW
        thumb = (int(start * steps), ceil(size * steps))
        if thumb != self._painted:
            self._painted = thumb
            bar.refresh()
