"""What is typed at a terminal is text: behind the mouse, a dialog, and under the card of a tool."""

from __future__ import annotations

import pytest

from tests.support.lmchat_screen import LMChatScreen, leave, prompts_sent, ready_screen
from tests.support.scripted_products import llama_cpp

PRODUCT = llama_cpp

ALT_UP = "\x1b[1;3A"
F7 = "\x1b[18~"
SENTENCES = ("delete old rows", "y is it so", "also e and R, please")


def mouse(screen: LMChatScreen, words: str, *, times: int = 1, to: int = 0) -> None:
    """Click the beginning of some words, or drag from there over `to` cells."""
    rows = screen.screen()
    y = next(y for y, row in enumerate(rows) if words in row)
    x = rows[y].index(words) + 2
    for _ in range(times):
        screen.type(f"\x1b[<0;{x};{y + 1}M")
        if to:
            screen.type(f"\x1b[<32;{x + to};{y + 1}M")
        screen.type(f"\x1b[<0;{x + to};{y + 1}m")


def details(screen: LMChatScreen) -> None:
    screen.type(ALT_UP, sees="d delete")
    screen.type("i", sees="Details")
    screen.type("\x1b[27u", hides="Details")


WAYS = {
    "a click": lambda screen: mouse(screen, "Hello there"),
    "a double click": lambda screen: mouse(screen, "Hello there", times=2),
    "a drag": lambda screen: mouse(screen, "Hello there", to=4),
    "Tab": lambda screen: screen.type("\t"),
    "details, left": details,
}


@pytest.mark.timeout(120)
def test_a_sentence_behind_the_mouse_or_a_dialog_is_in_the_prompt(tmp_path, server):
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Hello?", answers=1)
        for way, go in WAYS.items():
            for sentence, reads in zip(SENTENCES, (list, lambda words: [words], list), strict=True):
                go(screen)
                screen.wait_taken()
                for read in reads(sentence):
                    screen.type(read)
                    screen.wait_taken()
                screen.wait_until(lambda words=sentence: screen.prompt_text == words, way)
                screen.type("\x15\x1b[27u", hides=sentence)
        assert prompts_sent(server) == ["Hello?"]
        assert "Hello there." in screen.text
        leave(screen)
