"""A scrollbar that is painted only where its thumb moved: the usual one costs half as much as the text."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.scrollbar import ScrollBar, ScrollTo
from textual.strip import Strip
from textual.widget import Widget

from lmchat.tui.quirks.frames import paint_soon

_PARTS = ("scroll_up", "grab", "scroll_down")
"""What a press of the mouse does above, on and below the thumb."""


class QuietScrollBar(ScrollBar):
    """A vertical scrollbar of whole cells."""

    DEFAULT_CLASSES = "-textual-system"
    ALLOW_SELECT: ClassVar[bool] = False

    def __init__(self, *, thickness: int = 1) -> None:
        super().__init__(vertical=True, name="vertical", thickness=thickness)
        self._painted: tuple[object, ...] = ()
        self._drawn_as: tuple[object, ...] = ()
        self._drawn: list[Strip] = []
        self._pressed_y = self._grabbed_row = 0

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> QuietScrollBar:
        """Ask for a repaint of what changed: nothing, if the thumb stands where it stood."""
        if regions or layout or recompose or not self.is_mounted:
            super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        elif repaint and (look := (*self._thumb(), *self._state())) != self._painted:
            self._painted = look
            paint_soon(self)
        return self

    def _state(self) -> tuple[object, ...]:
        """Return what the colours depend on."""
        styles = self.parent.styles if isinstance(self.parent, Widget) else self.styles
        colours = styles.scrollbar_background, styles.scrollbar_color
        return self.grabbed is not None, self.mouse_over, self.app.theme, *colours

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Note where the thumb is grabbed: by the time that Textual does, the mouse may have moved on."""
        self._pressed_y, self._grabbed_row = event.screen_y, self._thumb()[0]

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Scroll with the thumb: at an end of the bar it is at an end of the log, however long that is.

        Textual's own takes each row for as many lines as the log has for each row of the bar: the first
        lines of a long log are out of its reach.
        """
        event.stop()
        event.prevent_default()
        if self.grabbed is not None:
            self.post_message(ScrollTo(y=self._dragged_by(event.screen_y - self._pressed_y), animate=False))

    def _dragged_by(self, rows: int) -> float:
        """Return the position with the thumb so many rows from where it was grabbed."""
        end = max(self.window_virtual_size - self.window_size, 0)
        at = min(self.grabbed_position, end)
        above = self._grabbed_row
        below = self.size.height - (self._thumb()[1] - self._thumb()[0]) - above
        if rows < 0:
            return at * max(1 + rows / above, 0) if above else 0
        return at + (end - at) * min(rows / below, 1) if below > 0 else end

    def _thumb(self) -> tuple[int, int]:
        """Return the first row of the thumb, and the one behind its last."""
        height, total, window = self.size.height, self.window_virtual_size, self.window_size
        if not height or not window or window >= total:
            return 0, 0
        size = max(1, round(height * window / total))
        start = round((height - size) * self.position / (total - window))
        if 0 < self.position < total - window and height > size + 1:
            start = min(max(start, 1), height - size - 1)  # at an end of the bar only at that of the log
        return start, min(start + size, height)

    def _colours(self) -> tuple[Style, ...]:
        """Return how the parts above, on and below the thumb look."""
        view = self.parent
        if not isinstance(view, Widget):
            return (Style.null(),) * len(_PARTS)
        styles = view.styles
        back, thumb = styles.scrollbar_background, styles.scrollbar_color
        if self.grabbed:
            back, thumb = styles.scrollbar_background_active, styles.scrollbar_color_active
        elif self.mouse_over:
            back, thumb = styles.scrollbar_background_hover, styles.scrollbar_color_hover
        if back.a < 1:
            back = view.background_colors[0] + back
        look = Style.from_color((back + thumb).rich_color, back.rich_color)
        return tuple(look + Style(reverse=part == "grab", meta={"@mouse.down": part}) for part in _PARTS)

    def render_line(self, y: int) -> Strip:
        """Return a row of it."""
        return self.render_lines(Region(0, y, self.size.width, 1))[0]

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return rows of it; each of its parts is one strip."""
        key = (crop.width, *self._state())
        if key != self._drawn_as:
            self._drawn_as, self._drawn = key, self._draw(crop.width)
        start, end = self._thumb()
        return [self._drawn[(y >= start) + (y >= end)] for y in crop.line_range]

    def _draw(self, width: int) -> list[Strip]:
        strips = [Strip([Segment(" " * width, style)], width) for style in self._colours()]
        background = self.background_colors[1]
        for line_filter in self.get_line_filters():
            strips = [strip.apply_filter(line_filter, background) for strip in strips]
        return strips
