from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pty
import struct
import sys
import termios
from unittest.mock import Mock

import pytest

from lmchat.app.terminal.output import ask_yes_no, can_ask, question_rows
from lmchat.base.errors import WrongUse


@pytest.fixture
def type_text(monkeypatch):
    """A terminal as standard input, to type into."""
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda text: os.write(controller, text.encode())
    os.close(controller)


@pytest.mark.parametrize(
    ("line", "is_yes"),
    [
        ("y\n", True),
        (" YES \n", True),
        ("n\n", False),
        ("\n", False),
        ("yep\n", False),
        ("\x04", False),
    ],
)
async def test_only_a_yes_is_a_yes(type_text, capsys, line, is_yes):
    type_text(line)
    assert await ask_yes_no("Remove \x1b[2J it\u2800 for good?", "all\n\nof it") is is_yes
    assert capsys.readouterr().err == "    all␣of it\nRemove ␛[2J it␣for good? [y/N] "


@pytest.mark.parametrize(
    ("size", "letter", "most"),
    [
        ((24, 80), "a", 19 * 80 - 5),
        ((24, 80), "\u8c46", (19 * 80 - 5) // 2),
        ((10, 40), "a", 600),
        ((0, 0), "a", 600),
    ],
)
async def test_a_question_that_would_scroll_off_is_not_asked(
    type_text, monkeypatch, size, letter, most
):
    fcntl.ioctl(sys.stdin, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
    monkeypatch.setattr(sys, "stderr", sys.stdin)
    assert question_rows(letter * most) == [letter * most]
    assert question_rows(letter * (most + 1)) == []
    with pytest.raises(WrongUse, match="does not fit on the screen"):
        await ask_yes_no(letter * most, letter * most)


async def test_a_terminal_that_cannot_be_watched_can_be_read(type_text, monkeypatch):
    """As /dev/tty on macOS, or any on Windows."""
    for error in (OSError(errno.EINVAL, "Invalid argument"), NotImplementedError()):
        refuse = Mock(side_effect=error)
        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
        type_text("y\n")
        assert await ask_yes_no("Remove it?")
        assert refuse.called


def test_nobody_is_asked_where_input_or_errors_are_no_terminal(type_text, monkeypatch):
    assert not can_ask()  # standard error is captured
    monkeypatch.setattr(sys, "stderr", sys.stdin)
    assert can_ask()
    monkeypatch.setattr(sys, "stdin", None)
    assert not can_ask()
