"""Frames are painted when something changed, soon, and not more often than a screen can show."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from lmchat.tui.quirks.frames import FrameClock, call_later, keep_frames, paint_now, paint_soon


class Frames(App[None]):
    """Counts its frames."""

    frames = 0

    def __init__(self) -> None:
        super().__init__()
        self.painted = asyncio.Event()

    def get_default_screen(self) -> Screen:
        screen = Screen()
        keep_frames(screen)
        return screen

    def compose(self) -> ComposeResult:
        yield Static("one")
        yield Static("two")

    def _display(self, screen, renderable):
        self.frames += renderable is not None
        super()._display(screen, renderable)
        self.painted.set()


class Told(Widget):
    """Renders what it was told last, as widgets do that are no lines of their own."""

    words = "old"

    def render(self) -> str:
        return self.words


class Telling(Frames):
    """Has such a widget."""

    def compose(self) -> ComposeResult:
        yield Told()


def test_textual_still_has_the_names_that_are_used():
    screen = Screen()
    keep_frames(screen)
    assert isinstance(screen._update_timer, FrameClock)
    for name in (
        "_on_timer_update",
        "_dirty_widgets",
        "_repaint_required",
        "_layout_required",
        "_set_dirty",
        "_layout_cache",
        "_context",
    ):
        assert hasattr(screen, name)
    assert screen._compositor._visible_widgets is None
    assert callable(App._handle_exception)


async def test_what_changes_is_painted_by_the_clock_of_ours():
    async with Frames().run_test() as pilot:
        app = pilot.app
        await pilot.pause()
        frames = app.frames
        app.query(Static).first().refresh()
        while app.frames == frames:
            await pilot.pause()
        assert app.screen.__dict__["_Screen__update_timer"].__class__ is FrameClock


async def test_a_widget_can_be_painted_at_once_and_is_not_painted_twice():
    async with Frames().run_test() as pilot:
        app = pilot.app
        await pilot.pause()
        frames = app.frames
        app.query(Static).first().refresh()
        paint_now(app.query(Static).first())
        assert app.frames == frames + 1
        paint_now(app.query(Static).first())
        await pilot.pause()
        assert app.frames == frames + 1


async def test_a_widget_can_be_painted_soon_without_a_message():
    async with Frames().run_test() as pilot:
        app = pilot.app
        one, two = app.query(Static)
        await pilot.pause()
        frames, sent = app.frames, []
        for pump in (app.screen, one, two):
            pump.post_message = lambda message: sent.append(message) or True
        paint_soon(one)
        paint_soon(two, Region(0, 0, 1, 1))
        for pump in (app.screen, one, two):
            del pump.post_message
        while app.frames == frames:
            await pilot.pause()
        assert (app.frames, sent) == (frames + 1, [])


async def test_what_is_painted_soon_is_rendered_anew():
    async with Telling().run_test() as pilot:
        app, told = pilot.app, pilot.app.query_one(Told)
        await pilot.pause()
        for words in ("new", "newest"):
            frames, told.words = app.frames, words
            paint_soon(told)
            while app.frames == frames:
                await pilot.pause()
            assert told.render_line(0).text.rstrip() == words


async def test_what_stands_nowhere_on_the_screen_is_no_frame():
    async with Telling().run_test() as pilot:
        app, told = pilot.app, pilot.app.query_one(Told)
        await pilot.pause()
        told.display = False
        while told in app.screen._compositor.visible_widgets:
            await pilot.pause()
        paint_soon(told)
        assert told not in app.screen._dirty_widgets


async def test_what_is_asked_for_in_the_middle_of_a_layout_leaves_it_whole():
    class Asking(Static):
        def get_content_height(self, container, viewport, width):
            paint_soon(self)
            return super().get_content_height(container, viewport, width)

    class Laid(App[None]):
        def compose(self) -> ComposeResult:
            yield from (Asking(f"row {number}") for number in range(20))

    async with Laid().run_test(size=(40, 30)) as pilot:
        for height in (30, 5, 12, 1, 30):
            await pilot.resize_terminal(40, height)
            await pilot.pause()
            assert pilot.app.is_running
            compositor = pilot.app.screen._compositor
            rows = {region.y for region, _clip in compositor.visible_widgets.values()}
            assert rows == set(range(min(height, 20)))


async def test_what_falls_into_a_batch_is_painted_behind_it(monkeypatch):
    async with Frames().run_test() as pilot:
        app = pilot.app
        await pilot.pause()  # not in the batch: it paints by itself
        was_due, paint = asyncio.Event(), FrameClock._paint
        monkeypatch.setattr(FrameClock, "_paint", lambda clock: (paint(clock), was_due.set()))
        frames = app.frames
        paint_soon(app.query(Static).first())
        with app.batch_update():
            await was_due.wait()
            assert app.frames == frames
            app.painted.clear()
        await app.painted.wait()
        assert app.frames == frames + 1


async def test_no_frame_is_waited_for_while_the_app_ends():
    async with Frames().run_test() as pilot:
        app, clock = pilot.app, pilot.app.screen._update_timer
        await pilot.pause()
        with app.batch_update(), pytest.MonkeyPatch.context() as ending:
            ending.setattr(app, "_running", False)  # as it stands while its screens are closed
            clock.pause()
            clock._paint()
            assert clock._handle is None


async def test_what_is_laid_out_anew_or_gone_is_left_to_textual():
    async with Frames().run_test() as pilot:
        app = pilot.app
        one, two = app.query(Static)
        await two.remove()
        paint_soon(two)
        one.refresh(layout=True)
        paint_soon(one)
        assert one._layout_required
        frames = app.frames
        with app.batch_update():
            paint_soon(one)
        while app.frames == frames:
            await pilot.pause()


async def test_what_two_widgets_ask_for_is_one_frame():
    async with Frames().run_test() as pilot:
        app = pilot.app
        await pilot.pause()
        one, two = app.query(Static)
        frames = app.frames
        two.refresh()
        one.refresh()
        paint_now(one, two)
        assert app.frames == frames + 1
        await pilot.pause()
        assert app.frames == frames + 1


async def test_nothing_is_painted_over_a_dialog():
    async with Frames().run_test() as pilot:
        app = pilot.app
        below = app.query(Static).first()
        await app.push_screen(Screen())
        await pilot.pause()
        frames = app.frames
        below.refresh()
        paint_now(below)
        assert app.frames == frames


async def fail_later() -> None:
    async with Frames().run_test() as pilot:
        failed = asyncio.Event()
        handle = pilot.app._handle_exception
        pilot.app._handle_exception = lambda error: (handle(error), failed.set())
        call_later(pilot.app.query(Static).first(), 0.0, lambda: 1 / 0)
        await failed.wait()


async def test_what_fails_later_ends_the_app_as_in_a_handler():
    with pytest.raises(ZeroDivisionError):
        await fail_later()
