"""Each fault of Textual that `PatchedApp` and the palette mend; a test fails when its patch has no effect."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref

import pyte
import pytest
from textual import events
from textual._compositor import CompositorUpdate
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static
from textual.widgets._toast import Toast

from lmchat.tui.quirks.app import PatchedApp, PatchedScreen
from lmchat.tui.screens.palette import Palette
from tests.support.desktop import Desktop, desktop
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


async def test_a_whole_paint_that_was_dropped_is_done_later():
    async with drawn(Paced()) as (app, pilot):
        app.is_terminal_behind = True
        app.shown.clear()
        await app.mount(Static("second"))
        await app.push_screen(Screen())
        await app.pop_screen()
        await pilot.pause()
        app.shown.clear()
        app.is_terminal_behind = False
        while not app.shown:
            await pilot.pause(0.01)
        assert app.shown[-1] == "first\nsecond"


async def test_a_worker_that_fails_is_reported_and_ends_nothing():
    async with drawn(Paced()) as (app, pilot):

        async def fail() -> None:
            raise ValueError("on purpose")

        app.run_worker(fail())
        await pilot.pause()
        assert [str(error) for error in app.failures] == ["on purpose"]
        assert app.is_running


class Closed(ModalScreen[None]):
    def compose(self) -> ComposeResult:
        yield Static("words")


class Late(Screen):
    """Is mounted only when the app has ended, which leaves it without widgets."""

    async def on_mount(self) -> None:
        while self.app.is_running:  # noqa: ASYNC110 - nothing tells that it ends
            await asyncio.sleep(0)
        self.query_one("#late")


async def test_a_screen_that_opens_while_the_app_ends_is_no_fault():
    app = Paced()
    async with drawn(app):
        app.push_screen(Late())
        await asyncio.sleep(0)
    assert app.failure is None


async def test_nothing_that_was_painted_of_a_closed_dialog_is_kept():
    app = Paced()
    async with app.run_test() as pilot:
        await app.push_screen(Closed())
        await pilot.pause()
        painted = [
            weakref.ref(widget._styles_cache) for widget in app.screen.walk_children(with_self=True)
        ]
        await app.pop_screen()
        await pilot.pause()
        gc.collect()
        assert [widget() for widget in painted] == [None] * 2


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


async def test_nothing_behind_what_changed_is_rendered(monkeypatch):
    async with drawn(Panes(), (50, 12)) as (app, pilot):
        rendered, render = set(), Widget.render_lines
        monkeypatch.setattr(
            Widget,
            "render_lines",
            lambda widget, crop: rendered.add(widget) or render(widget, crop),
        )
        right = app.query_one("#right", Static)
        right.refresh()
        while not rendered:
            await pilot.pause(0.02)
        assert rendered == {right}


async def opened(desk: Desktop) -> None:
    await desk.ready()
    await desk.press("ctrl+p")
    await desk.on(Palette)
    await desk.pilot.pause()


def together(desk: Desktop, *sent: events.InputEvent) -> None:
    """Hand over what one read of a busy app brings: before it has done anything with the first."""
    for event in sent:
        event.set_sender(desk.app)
        desk.app._driver.send_message(event)


def clicked(x: int, y: int) -> list[events.InputEvent]:
    kinds = (events.MouseDown, events.MouseUp)
    return [
        kind(None, x, y, 0, 0, 1, False, False, False, screen_x=x, screen_y=y) for kind in kinds
    ]


async def test_a_command_that_enter_was_pressed_on_twice_runs_once(tmp_path):
    async with desktop(tmp_path) as desk:
        await opened(desk)
        await desk.type("hide the telemetry")
        await desk.until(lambda: len(desk.app.screen.list.keys) == 1, "the row")
        together(desk, *(events.Key("enter", None) for _ in range(3)))
        await desk.until(lambda: desk.app.screen is desk.chat, "the chat")
        await desk.until(
            lambda: any(not remembered.has_telemetry for remembered in desk.remembered), "it"
        )
        await desk.pilot.pause()
        assert [remembered.has_telemetry for remembered in desk.remembered].count(False) == 1


async def test_esc_pressed_twice_closes_the_palette_alone(tmp_path):
    async with desktop(tmp_path) as desk:
        await opened(desk)
        together(desk, events.Key("escape", None), events.Key("escape", None))
        await desk.until(lambda: desk.app.screen is desk.chat, "the chat")


async def test_a_click_on_what_was_just_told_and_is_gone_is_for_nothing(desk):
    desk.app.notify("Saved.", markup=False)
    await desk.until(
        lambda: any(toast.region for toast in desk.app.screen.query(Toast)), "the words"
    )
    await desk.pilot.pause()
    toast = desk.app.screen.query_one(Toast)
    x, y = toast.region.offset
    with desk.app.batch_update():  # as when the next frame is not due yet
        await toast.remove()
        together(desk, *clicked(x + 1, y))
        await desk.pilot.pause()
    await desk.press("h", "i")
    assert desk.prompt_input.text == "hi"


async def test_keys_that_come_after_the_way_out_are_for_nothing(tmp_path):
    async with desktop(tmp_path) as desk:
        await opened(desk)
        together(desk, *(events.Key("escape", None) for _ in range(3)))
        await desk.app._shutdown()
    assert desk.app._exception is None
