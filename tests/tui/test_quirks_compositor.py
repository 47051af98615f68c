from __future__ import annotations

import inspect

from textual._compositor import Compositor
from textual.app import App
from textual.containers import Vertical
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Static

from lmchat.tui.quirks.compositor import FrugalCompositor, paint_frugally


def test_textual_still_has_the_names_that_are_used():
    assert "crop" in inspect.signature(Compositor._get_renders).parameters
    assert isinstance(Screen()._compositor, Compositor)
    assert callable(Compositor._render_chops)


class Painted(Static):
    """Counts the rows that it is asked for."""

    rows = 0

    def render_lines(self, crop):
        self.rows += crop.height
        return super().render_lines(crop)


class Frugal(App[None]):
    CSS = "Screen { layout: horizontal; } Painted { width: 1fr; height: 100%; }"

    def get_default_screen(self):
        screen = Screen()
        paint_frugally(screen)
        return screen

    def compose(self):
        yield Painted("left", id="left")
        yield Painted("right", id="right")


async def test_only_the_rows_of_what_changed_are_rendered():
    async with Frugal().run_test(size=(40, 10)) as pilot:
        left, right = pilot.app.query_one("#left", Painted), pilot.app.query_one("#right", Painted)
        await pilot.pause()
        left.rows = right.rows = 0
        compositor = pilot.app.screen._compositor
        assert isinstance(compositor, FrugalCompositor)
        list(compositor._get_renders(left.region.crop_size((20, 2))))
        assert (left.rows, right.rows) == (2, 0)


async def test_a_whole_paint_renders_everything():
    async with Frugal().run_test(size=(40, 10)) as pilot:
        await pilot.pause()
        regions = [region for region, _, _ in pilot.app.screen._compositor._get_renders(None)]
        assert pilot.app.query_one("#right").region in regions


class Stacked(Frugal):
    """Widgets beside, before and partly outside each other, with gaps between them."""

    CSS = """
    Screen { layers: below above; }
    #frame { width: 100%; height: 100%; padding: 1 2; background: blue; }
    Painted { width: 12; height: 4; margin-bottom: 1; background: green; }
    #over { layer: above; offset: 7 3; background: red; }
    #out { layer: above; offset: 33 -1; background: yellow; }
    #all { width: 100%; height: 3; margin: 0; }
    """

    def compose(self):
        with Vertical(id="frame"):
            yield Painted("behind all", id="all")
            yield Painted("one")
        yield Painted("in front", id="over")
        yield Painted("cut off", id="out")


async def test_the_picture_is_that_of_textual():
    async with Stacked().run_test(size=(40, 12)) as pilot:
        compositor = pilot.app.screen._compositor
        ours = [list(strip) for strip in compositor.render_strips()]
        compositor.__class__ = Compositor
        assert ours == [list(strip) for strip in compositor.render_strips()]


async def test_what_stands_behind_others_is_not_rendered():
    async with Stacked().run_test(size=(40, 12)) as pilot:
        screen, frame = pilot.app.screen, pilot.app.query_one("#frame")
        assert screen.region == frame.region
        regions = [region for region, _, _ in screen._compositor._get_renders(screen.region)]
        assert regions.count(screen.region) == 1


async def test_after_a_whole_paint_and_after_another_layout_nothing_is_taken_for_written():
    async with Frugal().run_test(size=(40, 10)) as pilot:
        app, compositor = pilot.app, pilot.app.screen._compositor
        left = app.query_one("#left", Painted)

        def paint(text):
            left.update(text, layout=False)
            compositor.update_widgets({left})
            return compositor.render_partial_update()

        await pilot.pause()
        assert paint("one") is not None
        assert compositor._written
        compositor.render_full_update()
        assert not compositor._written
        assert paint("two") is not None
        compositor.reflow(app.screen, app.size)
        assert not compositor._written
        assert paint("three") is not None
        compositor._dirty_regions.add(app.screen.region.shrink((0, 0, 1, 0)))
        compositor.render_partial_update()
        assert {y for _, y in compositor._written} == {9}, "the others Textual has painted"
        compositor._free_of = None  # widgets stand elsewhere, as where a container was scrolled
        compositor._free_widgets()
        assert not compositor._written


class Asking(Painted):
    """Asks what is on the screen while that is arranged."""

    def get_content_height(self, *sizes):
        assert isinstance(self.screen._compositor.visible_widgets, dict)
        self.screen._compositor.cuts  # noqa: B018 - a property that keeps what it finds
        return super().get_content_height(*sizes)


class Asked(Frugal):
    CSS = "Screen { layout: vertical; } Asking { width: 1fr; height: auto; }"

    def compose(self):
        yield Asking("one")
        yield Asking("two")


async def test_who_asks_what_is_on_the_screen_while_it_is_arranged_changes_nothing():
    async with Asked().run_test(size=(40, 10)) as pilot:
        await pilot.pause()
        screen, compositor = pilot.app.screen, pilot.app.screen._compositor
        screen._clear_arrangement_cache()
        compositor.reflow(screen, Size(60, 12))
        for widget, (region, _) in compositor.visible_widgets.items():
            assert region == compositor.full_map[widget].region
        assert all(cut[-1] == 60 for cut in compositor.cuts)
        compositor.render_full_update().render_segments(pilot.app.console)


class Late(Static):
    """Has fewer rows and cells than it has room: it does not know its new size yet."""

    def render_lines(self, crop):
        return [strip.crop(0, 3) for strip in super().render_lines(crop)[:1]]


class Unready(Frugal):
    CSS = "Screen { layout: horizontal; } Late { width: 10; height: 4; } Painted { width: 1fr; }"

    def compose(self):
        yield Late("late")
        yield Painted("right")


async def test_what_no_widget_has_painted_is_blank():
    async with Unready().run_test(size=(40, 4)) as pilot:
        await pilot.pause()
        compositor = pilot.app.screen._compositor
        compositor.visible_widgets.pop(pilot.app.screen)  # the last that would paint it
        update = compositor.render_full_update()
        assert all(sum(strip.cell_length for strip in line) == 40 for line in update.strips[1:])
        assert "right" in update.render_segments(pilot.app.console)
