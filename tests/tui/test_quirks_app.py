"""Each fault of Textual that `PatchedApp` and the palette mend; a test fails when its patch has no effect."""

from __future__ import annotations

import random

import pyte
import pytest
from textual._compositor import CompositorUpdate
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Static

from lmchat.tui.quirks.patched_app import PatchedApp, PatchedScreen
from tests.support.tui_host import drawn


class Paced(PatchedApp):
    """Counts what it paints on a terminal that the test can halt."""

    is_terminal_behind = False

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.failures: list[BaseException] = []

    def compose(self) -> ComposeResult:
        yield Static("first")

    def report_failure(self, error: BaseException) -> None:
        self.failures.append(error)

    def post_display_hook(self) -> None:
        rows = self.screen._compositor.render_strips()
        if text := "\n".join(strip.text.rstrip() for strip in rows).strip():
            self.shown.append(text)


async def test_a_slow_terminal_gets_only_the_newest_of_all_frames():
    async with drawn(Paced()) as (app, pilot):
        app.is_terminal_behind = True
        app.shown.clear()
        for number in range(5):
            app.query_one(Static).update(f"number {number}")
            await pilot.pause(0.02)
        assert app.shown == []
        app.is_terminal_behind = False
        while not app.shown:
            await pilot.pause(0.01)
        assert set(app.shown) == {"number 4"}


async def test_a_worker_that_fails_is_reported_and_ends_nothing():
    async with drawn(Paced()) as (app, pilot):

        async def fail() -> None:
            raise ValueError("on purpose")

        app.run_worker(fail())
        await pilot.pause()
        assert [str(error) for error in app.failures] == ["on purpose"]
        assert app.is_running


class Panes(PatchedApp):
    """Draws on a terminal in memory; something may stand in front of its panes."""

    CSS = """
    Screen { layers: base over; } #left { width: 1fr; } #right { width: 14; border-left: solid red; }
    #over { layer: over; dock: top; width: 11; height: 3; background: blue; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.terminal = pyte.Screen(50, 12)

    def get_default_screen(self) -> Screen:
        return PatchedScreen()

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("left", id="left")
            yield Static("right", id="right")
        yield Static("in front", id="over")

    def _display(self, screen, renderable):
        if isinstance(renderable, CompositorUpdate):
            text = renderable.render_segments(self.console).replace("\n", "\r\n")
            pyte.Stream(self.terminal).feed(text)
        super()._display(screen, renderable)

    def whole(self) -> list[str]:
        return [strip.text for strip in self.screen._compositor.render_strips()]


@pytest.mark.parametrize("seed", range(4))
async def test_pieces_of_frames_add_up_to_the_whole_screen(seed):
    chance = random.Random(seed)  # noqa: S311 - not a secret
    app = Panes()
    async with app.run_test(size=(50, 12)) as pilot:
        for _ in range(20):
            widget = app.query_one(chance.choice(["#left", "#right", "#over"]), Static)
            if chance.random() < 0.2:
                widget.display = not widget.display
            else:
                widget.update(
                    "\n".join(
                        "abc "[: chance.randint(0, 4)] * 3 for _ in range(chance.randint(1, 9))
                    )
                )
            await pilot.pause(0.02)
            while app.screen._dirty_widgets or app.screen._layout_required:
                await pilot.pause(0.02)
            assert app.terminal.display == app.whole()
