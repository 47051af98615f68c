from __future__ import annotations

import asyncio
import errno
import os
import pty
import sys
from unittest.mock import Mock

import pytest

from lmchat.terminal.output import ask_yes_no, can_ask


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
    assert await ask_yes_no("Remove \x1b[2J it for good?") is is_yes
    assert capsys.readouterr().err == "Remove ␛[2J it for good? [y/N] "


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
