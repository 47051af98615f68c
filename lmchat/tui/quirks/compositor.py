"""Paints what changed and no more: Textual renders every widget of the screen for each frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.color import ColorSystem
from rich.console import Console
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from lmchat.tui.quirks.ansi import Pen
from lmchat.tui.quirks.frames import keep_frames
from lmchat.tui.quirks.places import PlacedCompositor, placed, reaches_beyond
from lmchat.tui.quirks.row_changes import Painted, changed_cells, cut, moved

Regions = Mapping[Widget, tuple[Region, Region]]
"""Where widgets stand and what they are clipped to, from front to back."""
Free = tuple[Region, Region, Region]
"""Of a widget on the screen: the cells that are its own, those with its scrollbars, and all of its place."""
_FEW = 3
"""Where no more rows than that are painted, nothing has moved."""
_pens: dict[ColorSystem, Pen] = {}


def paint_frugally(screen: Screen[Any]) -> None:
    """Let a screen paint with `FrugalCompositor`; to be called before it is shown."""
    screen._compositor = FrugalCompositor()
    keep_frames(screen)


class PaintedBelow(Screen[None]):
    """A screen that paints what changed, and no more, also while a dialog lies over it.

    Textual 8.2.8 notes what it has just painted of such a screen as still to be painted: all of it, once the
    dialog has come, with each change.
    """

    def _compositor_refresh(self) -> None:
        super()._compositor_refresh()
        if self is not self.app.screen:
            self._repaint_required = False
            self._exchange_repaint_regions()


class RowsUpdate(CompositorUpdate):
    """What is to be written, each piece behind its place, and what Textual paints in its own way."""

    def __init__(self, texts: list[str], others: ChopsUpdate | None) -> None:
        self.texts = texts
        self.others = others

    def render_segments(self, console: Console) -> str:
        """Return all of it for the terminal."""
        if self.others is None:
            return "".join(self.texts)
        return "".join([*self.texts, self.others.render_segments(console)])


class FrugalCompositor(PlacedCompositor):
    """Writes only the cells that look different, and renders only the rows of the widgets that changed.

    Textual 8.2.8 renders what the smallest rectangle around all changes touches, cuts it into pieces
    wherever any widget ends, and writes whole rows. A widget that nothing stands in front of needs none of
    that: its rows are what the screen shows, so they are compared with the rows that were written last.
    """

    def __init__(self) -> None:
        super().__init__()
        self._free: dict[Widget, Free] = {}
        self._free_of: Regions | None = None
        self._written: dict[tuple[int, int], Painted] = {}

    def reflow(self, parent: Widget, size: Size) -> Any:
        """Forget what was written: everything may stand elsewhere."""
        self._written.clear()
        found = super().reflow(parent, size)
        self._forget_places()
        return found

    def reflow_visible(self, parent: Widget, size: Size) -> set[Widget]:
        """Arrange what is in sight."""
        found = super().reflow_visible(parent, size)
        self._forget_places()
        return found

    def _forget_places(self) -> None:
        """Forget where widgets stood: who asked while they were arranged made that known for good."""
        self._cuts = self._layers = self._layers_visible = self._visible_widgets = None

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        """Forget what was written: something else may stand on the screen."""
        self._written.clear()
        return super().render_full_update(simplify)

    def render_partial_update(self) -> ChopsUpdate | None:
        """Return the cells that look different; the rest is painted in Textual's way."""
        regions = {part for region in self._dirty_regions if (part := region.intersection(self.size.region))}
        self._dirty_regions.clear()
        texts: list[str] = []
        others = set()
        changed: dict[Widget, list[Region]] = {}
        for region in regions:
            widget = self._only_widget(region)
            if widget is None:
                others.add(region)
            else:
                changed.setdefault(widget, []).append(region)
        beside: set[Region] = set()
        for widget, its_regions in changed.items():
            self._paint(widget, its_regions, texts, beside)
        update = None
        if others or beside:
            self._forget(others)
            self._dirty_regions.update(others, beside)
            update = super().render_partial_update()
        return RowsUpdate(texts, update) if texts or update else None  # type: ignore[return-value]  # the screen draws either

    def _only_widget(self, region: Region) -> Widget | None:
        """Return the widget that a region is all of, if nothing stands in front of any of its rows."""
        for widget, (area, shown, _) in self._free_widgets().items():
            if shown.contains_region(region) and area.overlaps(region):
                return widget
        return None

    def _free_widgets(self) -> dict[Widget, Free]:
        """Return the widgets that nothing stands in front of."""
        if self._free_of is not self.visible_widgets:
            self._free_of = self.visible_widgets
            self._free = _free(self.visible_widgets, self.size.region)
            self._written.clear()
        return self._free

    def _paint(self, widget: Widget, regions: list[Region], out: list[str], beside: set[Region]) -> None:
        """Write the cells of a widget that look different; tell what a sign at its edge may reach into."""
        area, shown, place = self._free[widget]
        # All rows from the first to the last in one call, for widgets keep what they have drawn; whole rows,
        # though a scrollbar may stand before their end: what was not cut need not be made anew.
        top = min(region.y for region in regions)
        rows = Region(shown.x, top, shown.width, max(region.bottom for region in regions) - top)
        strips = widget.render_lines(rows.translate((-place.x, -place.y)))
        pen = _pen(widget.app.console)
        # rows that stand elsewhere on the screen, and stay alive meanwhile
        known = {id(row.strip): row for row in self._written.values()} if len(strips) > _FEW else {}
        for y, strip in enumerate(strips, top):
            old = self._written.get((area.x, y))
            if old is not None and old.strip is strip:
                continue
            found = known.get(id(strip))
            new = self._written[area.x, y] = found or Painted(strip)
            piece = moved(old, new, area.width, pen) if found and old else None
            if piece is None:
                run = changed_cells(old, new)
                if run is None:
                    continue
                start, segments = cut(run, area.width)
                if not new.is_sure:
                    if area.right < self.size.width and reaches_beyond(segments, area.x + start, area.right):
                        beside.add(self.rest_of_row(area.right, y))
                    segments = list(placed(segments, area.x + start))
                piece = pen.written((start, segments))
            out.append(f"\x1b[{y + 1};{area.x + piece[0] + 1}H{piece[1]}")

    def _forget(self, regions: Iterable[Region]) -> None:
        rows = {y for region in regions for y in region.line_range}
        for key in [key for key in self._written if key[1] in rows]:
            del self._written[key]

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Render only the widgets that a region touches, only its rows of them, and none behind others."""
        if crop is None:
            yield from super()._get_renders(crop)
            return
        unseen = [crop]
        for widget, (region, clip) in self.visible_widgets.items():
            shown = region.intersection(clip)
            parts = [part for free in unseen if (part := free.intersection(shown))]
            for top, bottom in _row_ranges(parts):
                # whole rows: the places where they are cut need not be those of the changed region
                rows = Region(shown.x, top, shown.width, bottom - top)
                yield region, rows, widget.render_lines(rows.translate((-region.x, -region.y)))
            if parts:
                unseen = [rest for free in unseen for rest in _around(shown, free)]
            if not unseen:
                return


def _pen(console: Console) -> Pen:
    """Return the pen for the colours of a console."""
    system = console._color_system or ColorSystem.TRUECOLOR
    pen = _pens.get(system)
    if pen is None:
        pen = _pens[system] = Pen(system)
    return pen


def _free(widgets: Regions, screen: Region) -> dict[Widget, Free]:
    """Return the widgets that nothing stands in front of; a scrollbar beside the rows is not in front."""
    free: dict[Widget, Free] = {}
    in_front: list[Region] = []
    for widget, (region, clip) in widgets.items():
        shown = region.intersection(clip).intersection(screen)
        area = shown.shrink((0, widget.scrollbar_size_vertical, widget.scrollbar_size_horizontal, 0))
        if area and not any(area.overlaps(other) for other in in_front):
            free[widget] = (area, shown, region)
        in_front.append(shown)
    return free


def _around(hole: Region, region: Region) -> list[Region]:
    """Return what is left of a region around a hole, as regions that do not overlap."""
    cut = region.intersection(hole)
    if not cut:
        return [region]
    pieces = (
        Region(region.x, region.y, region.width, cut.y - region.y),
        Region(region.x, cut.y, cut.x - region.x, cut.height),
        Region(cut.right, cut.y, region.right - cut.right, cut.height),
        Region(region.x, cut.bottom, region.width, region.bottom - cut.bottom),
    )
    return [piece for piece in pieces if piece]


def _row_ranges(regions: Sequence[Region]) -> list[tuple[int, int]]:
    """Return the rows of some regions as ranges that do not overlap."""
    ranges: list[tuple[int, int]] = []
    for region in sorted(regions, key=lambda region: region.y):
        if ranges and region.y <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], region.bottom))
        else:
            ranges.append((region.y, region.bottom))
    return ranges
