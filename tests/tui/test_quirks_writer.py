from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from lmchat.tui.quirks.driver import LATE_S, Writer
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


def test_a_terminal_that_takes_nothing_holds_up_nobody_who_writes(writer, file):
    for number in range(1000):
        writer.write(str(number))
    assert file.is_asked.wait(5)


def test_all_is_written_in_order(writer, file):
    file.takes.set()
    for number in range(1000):
        writer.write(str(number))
    writer.stop()
    assert "".join(file.texts) == "".join(map(str, range(1000)))


def test_a_terminal_is_behind_from_when_it_left_something_for_long(writer, file, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("lmchat.tui.quirks.driver.monotonic", lambda: now[0])
    assert not writer.is_behind
    writer.write("a frame")
    assert not writer.is_behind
    now[0] += 2 * LATE_S
    assert writer.is_behind
    writer.write("another")
    assert writer.is_behind
    file.takes.set()
    writer.stop()
    assert not writer.is_behind


def test_the_end_does_not_wait_for_a_terminal_that_takes_nothing(file, monkeypatch):
    monkeypatch.setattr("lmchat.tui.quirks.driver.LAST_WRITES_S", 0.01)
    thread = Writer(file)
    thread.start()
    thread.write("a frame")
    thread.stop()
    assert thread.is_alive()
    file.takes.set()
    thread.join()


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
