"""Keys that come together, on a real pty and a slow event loop: they take effect in their order."""

from __future__ import annotations

import sys

import pytest

from lmchat.tui.quirks.keys import ESCAPE_DELAY_S
from tests.support.lmchat_screen import ready_screen
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp
from tests.support.slow_lmchat import SLOW

PRODUCT = llama_cpp

F12 = "\x1b[24~"
ALT_UP = "\x1b[1;3A"
CLEAR_PROMPT = "\x1b[18~\x7f"  # F7 selects all of it
_ON_MESSAGE = "d delete"  # in the row of keys while a message has the focus
TYPED = (
    (["\x1b", "needed"], "needed"),
    (["\x1b", "n", "e", "e", "d", "e", "d"], "needed"),
    (["\x1bneeded"], "needed"),
    (["\x1b\x1bneeded"], "needed"),
    (["\x1b[27uneeded"], "needed"),
    (["hello needed"], "hello needed"),
    (["\x1b[A\x1b[27uneeded"], "needed"),
    (["\x1b", "\x1b[A\x1b[B", "needed"], "needed"),
    (["\x1b[27u\x1b[A"], "Say it."),
)


@pytest.mark.timeout(90)
def test_letters_right_behind_escape_are_all_in_the_prompt_in_order(tmp_path, server):
    server.on(CHAT, chat_reply("Alpha."))
    argv = (sys.executable, "-m", "tests.support.slow_lmchat")
    with ready_screen(tmp_path, server.url, argv=argv) as slow:
        slow.ask("Say it.", answers=1)
        slow.type(F12, sees=SLOW)
        for typed, text in TYPED:
            slow.type(ALT_UP, sees=_ON_MESSAGE)
            for data in typed:
                slow.type(data)
                slow.wait_time(ESCAPE_DELAY_S)  # what comes sooner after Esc is Alt with a letter
            slow.wait_until(lambda text=text: slow.prompt_text == text, repr((typed, text)))
            slow.type(CLEAR_PROMPT)
            slow.wait_until(lambda text=text: text not in slow.prompt_text, "an empty prompt")
