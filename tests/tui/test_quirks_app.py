"""Each fault of Textual that `PatchedApp` and the palette mend; a test fails when its patch has no effect."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Input, Static

from lmchat.tui.quirks.patched_app import PatchedApp
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


class Asking(Screen[None]):
    AUTO_FOCUS = "Input"

    def compose(self) -> ComposeResult:
        yield Input()


async def test_a_screen_that_opens_while_the_window_has_no_focus_is_focused_with_it():
    async with drawn(Paced()) as (app, pilot):
        app.post_message(events.AppBlur())
        await pilot.pause()
        await app.push_screen(Asking())
        assert app.focused is None
        app.post_message(events.AppFocus())
        await pilot.pause()
        assert isinstance(app.focused, Input)


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
