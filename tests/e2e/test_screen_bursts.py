"""Keys that come together, on a real pty and a slow event loop: they take effect in their order."""

from __future__ import annotations

import sys

import pytest

from lmchat.tui.quirks.keys import ESCAPE_DELAY_S
from tests.support.lmchat_screen import LMChatScreen, ready_screen
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp
from tests.support.slow_lmchat import SLOW

PRODUCT = llama_cpp
F12 = "\x1b[24~"
ALT_UP = "\x1b[1;3A"
_ON_MESSAGE = "d delete"  # in the row of keys while a message has the focus


@pytest.fixture
def slow(tmp_path, server):
    server.on(CHAT, chat_reply("Alpha."))
    argv = (sys.executable, "-m", "tests.support.slow_lmchat")
    with ready_screen(tmp_path, server.url, argv=argv) as screen:
        screen.ask("Say it.", answers=1)
        screen.type(F12, sees=SLOW)
        yield screen


def focus_message(screen: LMChatScreen) -> None:
    screen.type(ALT_UP, sees=_ON_MESSAGE)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["\x1b", "needed"], "needed"),
        (["\x1b", "n", "e", "e", "d", "e", "d"], "needed"),
        (["\x1bneeded"], "needed"),
        (["\x1b\x1bneeded"], "needed"),
        (["\x1b[27uneeded"], "needed"),
        (["hello needed"], "hello needed"),
        (["\x1b[A\x1b[27uneeded"], "needed"),
        (["\x1b[27u\x1b[A"], "Say it."),
        (["\x1b", "\x1b[A\x1b[B", "needed"], "needed"),
    ],
    ids=repr,
)
def test_letters_right_behind_escape_are_all_in_the_prompt_in_order(slow, typed, text):
    focus_message(slow)
    for data in typed:
        slow.type(data)
        slow.wait_time(ESCAPE_DELAY_S)  # what comes sooner after Esc is Alt with a letter
    slow.wait_until(lambda: slow.prompt_text == text, repr(text))
