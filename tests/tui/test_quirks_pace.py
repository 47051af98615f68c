"""A terminal that reads slowly, or not at all, holds up frames and nothing else."""

from __future__ import annotations

import sys
import threading
from contextvars import Context
from pathlib import Path

import pytest
from textual._context import active_app
from textual.app import App, ComposeResult
from textual.drivers import linux_driver
from textual.screen import Screen
from textual.widgets import Static

from lmchat.tui.quirks import frames, pace
from lmchat.tui.quirks.compositor import paint_frugally
from lmchat.tui.quirks.driver import TerminalDriver, guard_terminal
from lmchat.tui.quirks.pace import call_for, keep_pace
from lmchat.tui.quirks.writer import LATE_S, Writer
from tests.support.pty_program import PtyProgram

APP = [sys.executable, "-m", "tests.support.keys_app"]
F1, F5 = "\x1bOP", "\x1b[15~"


class Stubborn:
    """A file that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.takes = threading.Event()
        self.is_asked = threading.Event()

    def write(self, text: str) -> None:
        self.texts.append(text)

    def flush(self) -> None:
        self.is_asked.set()
        self.takes.wait()


@pytest.fixture
def file():
    stubborn = Stubborn()
    yield stubborn
    stubborn.takes.set()


@pytest.fixture
def writer(file):
    thread = Writer(file)
    thread.start()
    yield thread
    file.takes.set()
    thread.stop()
    assert not thread.is_alive()


def test_textual_still_has_the_names_that_are_used():
    before = linux_driver.WriterThread
    guard_terminal(App[None](), lambda: None)
    assert linux_driver.WriterThread is Writer
    assert {name for name in dir(before) if not name.startswith("_")} <= {*dir(Writer), "isatty", "fileno"}
    assert callable(App._display)


def test_a_terminal_that_takes_nothing_holds_up_nobody_who_writes(writer, file):
    for number in range(1000):
        writer.write(str(number))
    assert file.is_asked.wait(5)


def test_all_is_written_in_order(writer, file):
    file.takes.set()
    for number in range(1000):
        writer.write(str(number))
    written = threading.Event()
    writer.when_read(written.set)
    assert written.wait(5)
    assert "".join(file.texts) == "".join(map(str, range(1000)))


def test_who_waits_is_told_once_when_all_is_read_and_not_before(writer, file):
    told: list[int] = []
    is_told = threading.Event()
    writer.write("a frame")
    writer.when_read(lambda: (told.append(1), is_told.set()))
    assert file.is_asked.wait(5)
    assert told == []
    file.takes.set()
    assert is_told.wait(5)
    writer.write("more")
    again = threading.Event()
    writer.when_read(again.set)
    assert again.wait(5)
    assert told == [1]


def test_a_terminal_is_behind_from_when_it_left_something_for_long(writer, file, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("lmchat.tui.quirks.writer.monotonic", lambda: now[0])
    assert not writer.is_behind
    writer.write("a frame")
    assert not writer.is_behind
    now[0] += 2 * LATE_S
    assert writer.is_behind
    writer.write("another")
    assert writer.is_behind
    file.takes.set()
    written = threading.Event()
    writer.when_read(written.set)
    assert written.wait(5)
    assert not writer.is_behind


def test_the_end_does_not_wait_for_a_terminal_that_takes_nothing(file, monkeypatch):
    monkeypatch.setattr("lmchat.tui.quirks.writer.PATIENCE_S", 0.01)
    thread = Writer(file)
    thread.start()
    thread.write("a frame")
    thread.stop()
    assert thread.is_alive()
    file.takes.set()
    thread.join()


class Paced(App[None]):
    """Counts what it paints on a terminal that the test can halt."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.is_behind = False
        self.waiting: list = []
        keep_pace(self)

    def get_default_screen(self) -> Screen:
        screen = Screen()
        paint_frugally(screen)
        return screen

    def compose(self) -> ComposeResult:
        yield Static("first")

    def _display(self, screen, renderable):
        if renderable is not None:
            rows = self.screen._compositor.render_strips()
            self.shown.append("\n".join(strip.text.rstrip() for strip in rows).strip())
        super()._display(screen, renderable)

    def go_on(self) -> None:
        self.is_behind = False
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()


@pytest.fixture
def halting(monkeypatch):
    """Lets apps of this module say whether their terminal is behind."""
    for module in (pace, frames):
        monkeypatch.setattr(module, "is_behind", lambda app: app.is_behind)
        monkeypatch.setattr(module, "when_read", lambda app, call: app.waiting.append(call))


async def test_only_the_newest_of_what_came_meanwhile_is_painted(halting):
    async with Paced().run_test() as pilot:
        app = pilot.app
        await pilot.pause()
        app.is_behind = True
        app.shown.clear()
        for number in range(5):
            app.query_one(Static).update(f"number {number}")
            await pilot.pause()
        assert app.shown == []
        app.go_on()
        while not app.shown:
            await pilot.pause()
        assert set(app.shown) == {"number 4"}


async def test_a_frame_that_had_to_wait_is_due_as_soon_as_the_terminal_has_read(halting):
    async with Paced().run_test() as pilot:
        app = pilot.app
        await pilot.pause()
        clock = app.screen._update_timer
        app.is_behind = True
        clock._paint()
        clock.resume()
        assert clock._handle is None
        app.go_on()
        assert clock._handle is not None


async def test_a_whole_paint_that_was_dropped_is_done_later(halting):
    async with Paced().run_test() as pilot:
        app = pilot.app
        await pilot.pause()
        app.is_behind = True
        app.shown.clear()
        await app.mount(Static("second"))
        await app.push_screen(Screen())
        await app.pop_screen()
        await pilot.pause()
        assert app.shown == []
        app.go_on()
        while not app.shown:
            await pilot.pause()
        assert app.shown[-1] == "first\nsecond"


async def test_a_terminal_that_was_taken_anew_is_painted_though_nobody_told_of_the_old_one(halting):
    async with Paced().run_test() as pilot:
        app = pilot.app
        await pilot.pause()
        app.is_behind = True
        app.query_one(Static).update("one")
        await pilot.pause()
        app.is_behind = False
        app.query_one(Static).update("two")
        while not app.shown or app.shown[-1] != "two":
            await pilot.pause()


class Recorder(TerminalDriver):
    """Keeps what would be written, and has no terminal."""

    is_behind = False

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, data: str) -> None:
        self.texts.append(data)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("is_in_sync", [False, True])
async def test_a_frame_is_what_textual_writes_but_in_one_piece(monkeypatch, is_in_sync):
    async with Paced().run_test() as pilot:
        app = pilot.app
        await pilot.pause()
        update = app.screen._compositor.render_full_update()
        ours, theirs = Recorder(), Recorder()
        with monkeypatch.context() as patch:
            patch.setattr(app, "_sync_available", is_in_sync)
            patch.setattr(app, "_driver", ours)
            app._display(app.screen, update)
            patch.setattr(app, "_driver", theirs)
            App._display(app, app.screen, update)
        assert len(ours.texts) == 1
        assert ours.texts == ["".join(theirs.texts)]
        assert "first" in ours.texts[0]


def test_a_headless_app_is_never_behind():
    assert not pace.is_behind(App[None]())


@pytest.mark.parametrize("is_read_again", [False, True])
def test_a_program_whose_terminal_halts_can_be_left(tmp_path: Path, is_read_again: bool) -> None:
    with PtyProgram([*APP, str(tmp_path / "saved")], home=tmp_path) as program:
        program.wait_for("80x24")
        program.type(F5)
        program.wait_until(lambda: len(program.raw) > 20_000, "a flood")
        program.stop_reading()
        program.wait_until(program.is_full, "the terminal takes no more")
        if is_read_again:
            program.read_again()
        program.type(F1)
        assert program.wait_exit() == 7


async def test_a_frame_knows_its_app_whoever_asked_for_it() -> None:
    """What the reader of the terminal asks for comes from a context that knows no app."""
    app = App[None]()
    async with app.run_test():
        seen: list[object] = []
        Context().run(pace.call_for, app.screen, lambda: seen.append(active_app.get()))
        assert seen == [app]


def test_what_is_called_for_a_widget_after_its_app_has_ended_is_not_called():
    called = []
    Context().run(call_for, Static(), lambda: called.append(1))
    assert not called
