"""Each fault of Textual that `PatchedApp` and the palette mend; a test fails when its patch has no effect."""

from __future__ import annotations

import asyncio
import re

import pytest
from msgspec.structs import replace
from textual import events
from textual._compositor import ChopsUpdate, Compositor
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.drivers.headless_driver import HeadlessDriver
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.worker import WorkerFailed

from lmchat.app.tui.quirks.frames import RowsUpdate
from lmchat.app.tui.quirks.patched_app import PatchedApp
from lmchat.core.config.settings import Settings
from lmchat.core.servers.events import RequestSent, StreamFinished, TextDelta
from tests.support.chat_log_app import drag
from tests.support.desktop import ready_desktop
from tests.support.markdown_corpus import MIXED
from tests.support.pty_program import Terminal
from tests.support.tui_host import drawn, painted


class Paced(PatchedApp):
    """Counts what it paints on a terminal that the test can halt."""

    is_terminal_behind = False

    def __init__(self):
        super().__init__()
        self.shown: list[str] = []
        self.failures: list[BaseException] = []

    def compose(self) -> ComposeResult:
        yield Static("first")

    def report_failure(self, error: BaseException):
        self.failures.append(error)

    def post_display_hook(self):
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

        async def fail():
            raise ValueError("on purpose")

        app.run_worker(fail())
        await pilot.pause()
        assert [str(error) for error in app.failures] == ["on purpose"]
        assert app.is_running


async def test_an_app_without_a_report_of_its_own_ends_with_the_error_of_its_worker():
    app = PatchedApp()
    wrong = ValueError("on purpose")

    async def fail():
        raise wrong

    async def run():
        async with app.run_test() as pilot:
            app.run_worker(fail())
            await pilot.pause()

    with pytest.raises(WorkerFailed):
        await run()
    assert app.failure is wrong


class Beside(Static):
    """Notes the width that its last `Resize` has told it."""

    told = 0

    def on_resize(self, event: events.Resize):
        self.told = event.size.width


class Columns(PatchedApp):
    CSS = (
        "Beside { width: 1fr } #panel { width: 20 } #off { display: none } #below { offset: 0 200 }"
    )

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Beside("main")
            yield Static("panel", id="panel")
            yield Static("off", id="off")
        yield Static("below", id="below")


async def test_a_widget_learns_its_new_size_though_another_one_asks_for_its_own_before_the_layout():
    async with drawn(Columns()) as (app, pilot):
        main = app.query_one(Beside)
        assert main.told == app.size.width - 20
        app.query_one(
            "#below"
        ).refresh()  # out of sight, so Textual finds all places again on demand
        await pilot.pause()
        app.query_one("#panel").display = False
        app.query_one(
            "#off"
        ).refresh()  # asks for its size, with the panel gone and nothing laid out
        for _ in range(100):
            await pilot.pause(0.01)
            if main.told == app.size.width:
                return
        raise AssertionError(f"the widget still believes in {main.told} columns")


class Rows(Widget):
    """Notes the numbers of the rows that it draws."""

    def __init__(self):
        super().__init__()
        self.drawn: list[int] = []

    def render_lines(self, crop: Region) -> list[Strip]:
        self.drawn += crop.line_range
        return super().render_lines(crop)


class SideBySide(PatchedApp):
    CSS = "Rows { width: 1fr }"

    def compose(self) -> ComposeResult:
        yield Horizontal(Rows(), Rows())


async def test_a_widget_draws_only_its_own_rows_that_have_changed():
    async with drawn(SideBySide()) as (app, pilot):
        left, right = app.query(Rows)
        left.drawn = []
        right.drawn = []
        left.refresh(Region(0, 2, 5, 1))
        right.refresh(Region(0, 9, 5, 1), Region(0, 11, 5, 1))
        await pilot.pause()
        assert (left.drawn, sorted(right.drawn)) == ([2], [9, 11])


class Written(PatchedApp):
    """Draws its frames on a terminal in memory."""

    CSS = """
    Screen { layers: below above }
    #above { layer: above; offset: 4 2; width: 10; height: 3; display: none }
    .-covered #above { display: block }
    """

    def __init__(self) -> None:
        super().__init__()
        self.terminal = Terminal(80, 24)
        self.written = ""
        self.updates: list[type] = []

    def compose(self) -> ComposeResult:
        yield Static("", id="below")
        yield Static("above\n" * 3, id="above")

    def _display(self, screen: Screen, renderable: object) -> None:
        super()._display(screen, renderable)
        self.updates.append(type(renderable))

    def note_written(self, data: str) -> None:
        self.written += data
        self.terminal.feed(data.encode())


async def test_what_has_not_changed_is_not_written_and_the_screen_is_as_if_it_was(monkeypatch):
    monkeypatch.setattr(HeadlessDriver, "is_headless", False)
    monkeypatch.setattr(HeadlessDriver, "write", lambda driver, data: app.note_written(data))
    async with drawn(app := Written(), (80, 24)) as (_, pilot):
        below = app.query_one("#below", Static)

        async def show(text: str, kind: type, *, is_covered: bool = False) -> None:
            app.screen.set_class(is_covered, "-covered")
            await pilot.pause()
            app.updates.clear()
            app.written = ""
            below.update(f"{text}\n{'-' * 60}", layout=False)
            await pilot.pause()
            assert app.updates == [kind]
            rows = [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
            assert app.terminal.lines == rows

        below.styles.height = 20
        await pilot.pause()
        for before, now, written in (
            ("", "words", "words"),
            ("words", "words and more", " and more"),
            ("words and more", "words", "         "),
            ("words", "wards", "ards"),
            ("a\nb\nc", "a\nd\nc", "d"),
            ("漢字", "漢字 and more", "漢字 and more"),
            ("e", "e\u0301", "e\u0301"),
        ):
            await show(before, RowsUpdate)
            await show(now, RowsUpdate)
            assert re.sub(r"\x1b\[[\d;?]*[Hmhl]|\n", "", app.written) == written
            await show(before, ChopsUpdate, is_covered=True)
            await show(now, RowsUpdate)


# of all shapes, wide signs, and words and code longer than the page
STREAMED = (
    f"{MIXED}\n\n{'a-long-word-' * 40}\n\n{'漢字かな ' * 60}\n\n```\n{'x = y; ' * 40}\n```\n\n"
)


def drawn_by_textual(app: App[None]) -> Terminal:
    """Return the screen as Textual alone draws it."""
    compositor = Compositor()
    compositor.reflow(app.screen, app.size)
    terminal = Terminal(*app.size)
    terminal.feed(compositor.render_full_update().render_segments(app.console).encode())
    return terminal


@pytest.mark.slow  # every frame of a long answer
async def test_an_answer_looks_as_textual_draws_it_also_covered_marked_and_resized(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(HeadlessDriver, "is_headless", False)
    monkeypatch.setattr(HeadlessDriver, "write", lambda _, data: note_written(data))
    pieces = [STREAMED[start : start + 200] for start in range(0, len(STREAMED), 200)]
    pieces += [STREAMED * (200_000 // len(STREAMED)), *pieces[:12]]
    gates = [asyncio.Event() for _ in pieces]
    steps = [
        step
        for gate, text in zip(gates, pieces, strict=True)
        for step in (gate, TextDelta(text=text))
    ]
    answer = [RequestSent(), *steps, StreamFinished(reason="stop")]
    terminal = Terminal(120, 40)
    written: list[str] = []
    settings = replace(Settings(), ui=replace(Settings().ui, frames_per_second=120))
    waiting = iter(gates)

    def note_written(data: str) -> None:
        written.append(data)
        terminal.feed(data.encode())

    async with ready_desktop(tmp_path, answer, settings=settings) as desk:

        def is_same() -> bool:
            return drawn_by_textual(desk.app).screen.buffer == terminal.screen.buffer

        async def send(count: int) -> None:
            for _ in range(count):
                next(waiting).set()
                await desk.pilot.pause(0.02)

        async def stream(count: int) -> None:
            await send(count)
            await desk.until(is_same, "the same screen as Textual's")

        with painted():
            desk.app.redraw()
            await desk.say("one")
            await stream(len(pieces) - 13)
            await stream(1)  # 200 kB
            await desk.press("f1")
            await send(1)
            written.clear()
            await send(1)
            assert max(map(len, written)) < 12_000, "only what has changed below a dialog"
            terminal.resize(90, 30)
            await desk.pilot.resize_terminal(90, 30)
            await send(1)
            await desk.press("escape")
            await stream(1)
            await desk.press("ctrl+f", "x")
            await stream(2)
            await desk.press("escape")
            await drag(desk.pilot, desk.log_view, (10, 2), (40, 5))
            await stream(2)
            terminal.resize(120, 40)
            await desk.pilot.resize_terminal(120, 40)
            await stream(2)
            await desk.press("ctrl+t")
            await stream(2)
            await desk.answered()
            await stream(0)
