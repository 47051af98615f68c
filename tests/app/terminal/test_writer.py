from __future__ import annotations

import threading

import pytest

from lmchat.app.terminal.tty import LATE_S, TerminalWriter


class Stubborn:
    """A file that takes nothing until it is told to."""

    def __init__(self):
        self.texts: list[str] = []
        self.takes = threading.Event()
        self.is_asked = threading.Event()

    def write(self, text: str):
        self.texts.append(text)
        self.is_asked.set()
        self.takes.wait()


@pytest.fixture
def file():
    stubborn = Stubborn()
    yield stubborn
    stubborn.takes.set()


@pytest.fixture
def writer(file):
    thread = TerminalWriter(file)
    thread.start()
    yield thread
    file.takes.set()
    thread.stop()
    assert not thread.is_alive()


def test_all_is_written_in_order(writer, file):
    file.takes.set()
    for number in range(1000):
        writer.write(str(number))
    writer.stop()
    assert "".join(file.texts) == "".join(map(str, range(1000)))


def test_a_terminal_is_behind_from_when_it_left_something_for_long(writer, file, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("lmchat.app.terminal.tty.monotonic", lambda: now[0])
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
    monkeypatch.setattr("lmchat.app.terminal.tty.LAST_WRITES_S", 0.01)
    thread = TerminalWriter(file)
    thread.start()
    thread.write("a frame")
    thread.stop()
    assert thread.is_alive()
    file.takes.set()
    thread.join()
