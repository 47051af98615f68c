from __future__ import annotations

from tests.support.lmchat_screen import LMChatScreen, configure, stored_titles
from tests.support.programs import LMCHAT
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import llama_cpp

PRODUCT = llama_cpp


def test_a_broken_configuration_is_one_sentence_with_file_and_line(tmp_path):
    configure(tmp_path, "[chat]\ntemperature = 'warm'\n")
    with PtyProgram(LMCHAT, home=tmp_path, size=(200, 24)) as program:
        assert program.wait_exit() == 2
        assert "config.toml, line 2: chat.temperature" in program.text
        assert "Traceback" not in program.text
        assert program.text.strip().count("\n") <= 1
        assert b"\x1b[?1049h" not in program.raw


def test_two_at_once_see_each_others_sessions(tmp_path, server):
    with LMChatScreen(tmp_path, server.url) as one, LMChatScreen(tmp_path, server.url) as other:
        one.wait_ready()
        other.wait_ready()
        one.ask("Said in the first.", answers=1)
        other.ask("Said in the second.", answers=1)
        other.wait_for("Said in the first.")
        one.type("\x0e", sees="Said in the second.")
    assert set(stored_titles(tmp_path)) == {"Said in the first.", "Said in the second."}
