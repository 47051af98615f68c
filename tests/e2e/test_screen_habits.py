"""Habits of the terminal on a real pty: a code block as a file, a load with options, 16 colours."""

from __future__ import annotations

import re

from tests.support.lmchat_screen import LMChatScreen, leave
from tests.support.pty_program import ROOT, PtyProgram
from tests.support.scripted_products import CHAT, answer, lm_studio
from tests.support.scripted_server import ScriptedServer

SPARKS = "▁▂▃▄▅▆▇█"
CODE = "Run this:\n\n```python garden.py\nprint('Beans')\n```\n"
_SGR = re.compile(rb"\x1b\[([0-9;]*)m")


def test_w_saves_a_code_block_into_the_current_folder(tmp_path, server, cli):
    server.on(CHAT, answer(CODE))
    work = tmp_path / "work"
    work.mkdir()
    argv = cli.argv()
    with PtyProgram(
        argv, home=cli.home, size=(120, 40), cwd=work, env={"PYTHONPATH": str(ROOT)}
    ) as screen:
        screen.wait_for(re.compile(r"▌ ● tiny"))
        screen.type("Code?\r", sees="answer saved")
        screen.type("\x1b[1;3A", sees="d delete")
        screen.type("w", sees="▌ garden.py")
        screen.type("\r", sees="Saved to")
    assert (work / "garden.py").read_text() == "print('Beans')\n"


def test_a_model_is_loaded_with_options_from_the_picker(tmp_path):
    with ScriptedServer() as server:
        lm_studio(server, loaded=[])
        with LMChatScreen(tmp_path, server.url) as screen:
            screen.wait_for("Esc close")  # the picker opens by itself: no model is loaded
            screen.wait_time(0.6)  # it takes no key at once
            screen.type("\x07", sees="flash_attention=on")
            screen.type("\x15context=16384 flash_attention=on\r")
            screen.wait_until(lambda: server.seen("POST /api/v1/models/load") != [], "the load")
            (load,) = server.seen("POST /api/v1/models/load")
            assert (load.json["context_length"], load.json["flash_attention"]) == (16384, True)
            screen.type("\x1b", hides="Esc close")
            leave(screen)


def test_sparks_have_the_colour_of_text_in_the_theme_of_16_colours(tmp_path, server):
    server.on(CHAT, answer("Beans."))
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
