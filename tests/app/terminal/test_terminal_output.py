from __future__ import annotations

import os
import select
import signal
import termios
import threading
from contextlib import suppress

import pytest

from lmchat.app.terminal.signal_guard import SignalGuard
from lmchat.app.terminal.tty import TerminalOutput, echo


@pytest.fixture
def pty():
    master, slave = os.openpty()
    yield master, slave
    for number in (master, slave):
        with suppress(OSError):
            os.close(number)


def test_text_is_written_whole(pty):
    master, slave = pty
    TerminalOutput(slave, pytest.fail).write("aé\udc80")
    assert os.read(master, 100) == "aé?".encode()


def test_nothing_is_written_after_the_end_but_its_last_words(pty):
    master, slave = pty
    output = TerminalOutput(slave, pytest.fail)
    output.end("bye")
    output.write("late")
    assert os.read(master, 100) == b"bye"
    output.start()
    output.write("again")
    assert os.read(master, 100) == b"again"


def test_a_terminal_that_is_gone_is_told_once_and_raises_nothing(pty):
    master, slave = pty
    gone = []
    output = TerminalOutput(slave, lambda: gone.append(1))
    os.close(master)
    for _ in range(3):
        output.write("a")
    assert gone == [1]
    output.end("bye")


def test_echo_leaves_the_modes_as_they_were_and_a_terminal_may_be_gone(pty):
    master, slave = pty
    before = termios.tcgetattr(slave)
    with echo(slave, is_on=False):
        assert not termios.tcgetattr(slave)[3] & termios.ECHO
    assert termios.tcgetattr(slave) == before
    os.close(master)
    with echo(slave, is_on=False):
        os.close(slave)


def test_the_end_does_not_wait_for_a_write_that_never_ends(pty):
    master, slave = pty
    output = TerminalOutput(slave, lambda: None)
    writing = threading.Thread(target=output.write, args=("x" * 1_000_000,))
    writing.start()
    output.end("bye")
    while writing.is_alive():
        readable, _, _ = select.select([master], [], [], 0.01)
        if readable:
            os.read(master, 65536)
    writing.join()


def test_a_key_counts_as_it_was_pressed_however_late_the_thread_comes_to_it():
    ended = threading.Event()
    # its thread outlives this test; with a shorter time limit it would end the process of all tests
    # after a minute
    never_s = threading.TIMEOUT_MAX
    guard = SignalGuard(
        restore_terminal=lambda: None, ask_to_end=lambda _: ended.set(), timeout_s=never_s
    )
    pipe = guard._pipe = os.pipe()  # watched without the signals of this process
    try:
        guard.lend(is_lent=True)
        guard._on_signal(signal.SIGINT, None)  # of the editor
        guard.lend(is_lent=False)
        # all of it lies in the pipe already
        threading.Thread(target=guard._wait, args=(pipe[0],), daemon=True).start()
        guard._on_signal(signal.SIGQUIT, None)  # ours
        assert ended.wait(10)
        assert guard.ended_by == signal.SIGQUIT
    finally:
        os.close(pipe[1])
