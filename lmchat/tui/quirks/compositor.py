"""Paints what changed and no more: Textual renders every widget of the screen for each frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textual._compositor import Compositor
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip


def paint_frugally(screen: Screen[Any]) -> None:
    """Let a screen paint with `FrugalCompositor`; to be called before it is shown."""
    screen._compositor = FrugalCompositor()


class FrugalCompositor(Compositor):
    """Renders only the widgets that a changed region touches, only its rows of them, and none behind others.

    Textual 8.2.8 compares the region with what a widget is clipped to, which for most is the whole screen:
    an answer that grows by a word makes it render both side columns and every container in full, 30 times
    a second. Widgets come from front to back, and each fills its region.
    """

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        if crop is None:
            yield from super()._get_renders(crop)
            return
        covered: list[Region] = []
        for widget, (region, clip) in self.visible_widgets.items():
            shown = region.intersection(clip)
            if not crop.overlaps(shown):
                continue
            # whole rows: the places where they are cut need not be those of the changed region
            rows = shown.intersection(Region(shown.x, crop.y, shown.width, crop.height))
            local = rows.translate((-region.x, -region.y))
            yield region, rows, widget.render_lines(local)
            in_front = rows.intersection(crop)
            if not any(in_front.overlaps(other) for other in covered):
                covered.append(in_front)
            if crop.area in (in_front.area, sum(part.area for part in covered)):
                return
