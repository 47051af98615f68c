"""Habits of the terminal on a real pty: a code block as a file, a load with options, 16 colours."""

from __future__ import annotations

import re

from tests.support.lmchat_screen import LMChatScreen, leave
from tests.support.scripted_products import CHAT, chat_reply

SPARKS = "▁▂▃▄▅▆▇█"
_SGR = re.compile(rb"\x1b\[([0-9;]*)m")


def test_sparks_have_the_colour_of_text_in_the_theme_of_16_colours(tmp_path, server):
    server.on(CHAT, chat_reply("Beans."))
    env = {"TERM": "xterm", "COLORTERM": ""}
    with LMChatScreen(tmp_path, server.url, env=env) as screen:
        screen.wait_ready()
        screen.ask("One?", answers=1)
        screen.type("/theme ansi\r", sees="Theme: ansi.")
        screen.wait_until(
            lambda: {colour_of(screen.raw, sign) for sign in SPARKS} <= {"39", ""}, "the colour"
        )
        assert re.search(f"[{SPARKS}]", screen.text)
        leave(screen)


def colour_of(raw: bytes, sign: str) -> str:
    """Return the code of the colour in which a sign was drawn last; empty if it never was."""
    before, _, _ = raw.rpartition(sign.encode())
    codes = [code.decode() for one in _SGR.findall(before) for code in one.split(b";")]
    colours = [code for code in codes if re.fullmatch("|0|3[0-9]|9[0-7]", code)]
    if not colours:
        return ""
    return "39" if colours[-1] in ("", "0") else colours[-1]
