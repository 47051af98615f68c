from __future__ import annotations

from pathlib import Path

from tests.support.hostile import copied
from tests.support.lmchat_screen import ready_screen, stored
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp

PRODUCT = llama_cpp

_ON_MESSAGE = "d delete"  # in the row of keys while a message has the focus
ANSWER = "Some **bold** words.\n\n```python\ndef f():\n\treturn 1\n```\n\nThe *end* of it 漢字."


def source(home: Path) -> str:
    return stored(home).messages[-1].text


def place(screen, words, *, behind=False):
    """Column and row of words as a terminal counts them; or those of their last letter."""
    for y, row in enumerate(screen.screen(), 1):
        if words in row:
            return row.index(words) + 1 + (len(words) - 1 if behind else 0), y
    raise AssertionError(screen.text)


def drag(screen, first, last):
    (column, row), end = place(screen, first), place(screen, last, behind=True)
    for code, (x, y), letter in (
        (0, (column, row), "M"),
        (32, (column + 1, row), "M"),
        (32, end, "M"),
        (0, end, "m"),
    ):
        screen.type(f"\x1b[<{code};{x};{y}{letter}")


def test_a_terminal_alone_is_sent_the_source_and_the_selection_and_nothing_is_promised(
    tmp_path, server
):
    server.on(CHAT, chat_reply(ANSWER))
    with ready_screen(tmp_path, server.url, size=(80, 24)) as screen:
        screen.ask("What is it?", answers=1)
        screen.type("\x1b[1;3A", sees=_ON_MESSAGE)
        screen.type("y")
        screen.wait_until(lambda: copied(screen.raw), "the copy")
        assert copied(screen.raw) == [source(tmp_path)] == [ANSWER]
        screen.type("\x1b", hides=_ON_MESSAGE)
        drag(screen, "bold", "return")
        screen.wait_for("^C copy")
        screen.type("\x03")
        screen.wait_until(lambda: len(copied(screen.raw)) == 2, "the other copy")
        assert copied(screen.raw)[1] == "bold words.\n\ndef f():\n\treturn"
        screen.wait_gone("^C copy")
        assert "Copied" not in screen.text
