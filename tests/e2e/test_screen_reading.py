from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.lmchat_screen import LMChatScreen, ready_screen
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, delta, finish, sse

PRODUCT = llama_cpp

WHEEL_UP, WHEEL_DOWN = "\x1b[<64;60;12M", "\x1b[<65;60;12M"
HOME, END, ESC, UP, DOWN, ALT_UP = "\x1b[H", "\x1b[F", "\x1b", "\x1b[A", "\x1b[B", "\x1b[1;3A"
FIRST = "".join(f"Paragraph {number} with a word in it.\n\n" for number in range(60))
TABLE = "| a | b |\n|---|---|\n" + "".join(f"| {'x' * row} | {row} |\n" for row in range(40))
CODE = "\n```python\n" + "x = 1\n" * 80 + "```\n\n"
# Where no speed is known yet, it is beside the stage.
ELAPSED = re.compile(r"(?:elapsed|answering) +([\d.]+\sm?s)")
PILL = re.compile(r"(↓ new text)  End")


def tokens(text: str) -> Iterator[dict]:
    """Cut a text into tokens of four characters."""
    return (delta(text[start : start + 4]) for start in range(0, len(text), 4))


def log_rows(screen: LMChatScreen) -> list[str]:
    """The rows of the log, without the bars of the focus."""
    return [row[30:88].replace("▌", " ").rstrip() for row in screen.screen()[2:34]]


def after_tick(screen: LMChatScreen) -> list[str]:
    shown = ELAPSED.findall(screen.text)
    screen.wait_until(lambda: ELAPSED.findall(screen.text) != shown, "the clock goes on")
    return log_rows(screen)


def settled(screen: LMChatScreen) -> list[str]:
    """Return the rows that two ticks of the clock leave alone; at the first one, half a frame may be here."""
    rows = after_tick(screen)
    while (later := after_tick(screen)) != rows:
        rows = later
    return rows


@pytest.mark.timeout(60)
def test_what_is_read_stays_and_the_wheel_and_keys_are_served_while_text_streams(tmp_path, server):
    gates = [Gate(), Gate()]
    parts = (*tokens(FIRST), gates[0], *tokens(TABLE + CODE + FIRST), gates[1], *tokens(FIRST))
    server.on(CHAT, sse(*parts, finish(), DONE))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Tell me.", sees="Paragraph 59")
        screen.type(WHEEL_UP * 5, sees="more below")
        upper = settled(screen)

        def has_come() -> bool:
            assert log_rows(screen) == upper
            return gates[1].reached.is_set() and bool(PILL.search(screen.text))

        gates[0].open()
        screen.wait_until(has_come, "the next part, with the same rows in each frame", 20)
        gates[1].open()
        screen.type(WHEEL_UP * 20 + WHEEL_DOWN * 20)
        screen.wait_until(lambda: "Esc stop" not in screen.text, "the end of the answer")
        screen.wait_until(lambda: log_rows(screen) == upper, "the same rows again")
        screen.type(ALT_UP + HOME, sees="Paragraph 0 ")
        screen.type(DOWN * 30 + UP * 30, sees="Tell me.")
        screen.type(END)
        screen.wait_answered()
        screen.type(ESC)
        screen.wait_for("^O model")  # or the words are typed on the message
        screen.put("back in the prompt")
