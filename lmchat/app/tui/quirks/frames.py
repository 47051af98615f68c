"""Frames that are painted at once, and write only what has changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple

from rich.console import Console
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.strip import Strip
from textual.widget import Widget


class PlacedStrip(NamedTuple):
    """What is drawn at a place of the screen."""

    x: int
    y: int
    strip: Strip


DrawnRows = dict[int, list[PlacedStrip]]
"""What was drawn in each row of the terminal."""


class RowsUpdate(CompositorUpdate):
    """Update of rows, each of one widget."""

    def __init__(self, rows: Sequence[PlacedStrip]) -> None:
        self._rows = rows

    def without(self, drawn: DrawnRows) -> RowsUpdate:
        """Leave out what is drawn already, and note what will be."""
        rows = []
        for row in self._rows:
            x, y, strip = row
            end = x + strip.cell_length
            others = []
            before = None
            for other in drawn.get(y, ()):
                if (other.x, other.strip.cell_length) == (x, strip.cell_length):
                    before = other.strip
                elif other.x >= end or other.x + other.strip.cell_length <= x:
                    others.append(other)
            drawn[y] = [*others, row]
            if before is strip:
                continue
            if before is not None and strip._render_cache is None:
                start, end = _changed_cells(before, strip)
                if start == end:
                    continue
                if end - start < strip.cell_length // 2:
                    rows.append(PlacedStrip(x + start, y, strip.crop(start, end)))
                    continue
            rows.append(row)  # a whole one keeps its codes
        return RowsUpdate(rows)

    def render_segments(self, console: Console) -> str:
        codes = (f"\x1b[{y + 1};{x + 1}H{strip.render(console)}" for x, y, strip in self._rows)
        return "".join(codes)


def _changed_cells(before: Strip, now: Strip) -> tuple[int, int]:
    """Return the first cell in which rows of one width differ, and the one behind the last.

    The beginning is compared, and blanks at the end, as of a row to which words are added.
    """
    old, new = before._segments, now._segments
    start, end = 0, now.cell_length
    index = 0
    while index < len(old) and index < len(new) and old[index] == new[index]:
        start += new[index].cell_length
        index += 1
    if index == len(new) or index == len(old):
        return start, end
    one, other = old[index], new[index]
    # a mark may follow a letter of other text
    if one.style == other.style and one.text.isascii() and other.text.isascii():
        same = takewhile(lambda pair: pair[0] == pair[1], zip(one.text, other.text, strict=False))
        start += sum(1 for _ in same)
    one, other = old[-1], new[-1]
    if one.style == other.style and not (one.text.strip(" ") or other.text.strip(" ")):
        end -= min(len(one.text), len(other.text))
    return start, max(start, end)


def paint_at_once(widget: Widget, change: Callable[[], object]) -> None:
    """Change widgets and paint them.

    Textual would post messages to each widget and to the screen, and paint up to 17 ms later.
    """
    if not widget.is_attached:  # the app ends
        return
    app: App[object] = widget.app
    screen = widget.screen
    with app._context(), widget._context():
        try:
            change()
            for changed in screen._compositor.visible_widgets:
                if changed._repaint_required:
                    changed._repaint_required = False
                    screen._dirty_widgets.add(changed)
            screen._on_timer_update()
        except Exception as error:  # noqa: BLE001 - as in a handler of a message
            app._handle_exception(error)
