from __future__ import annotations

import re

import pytest

from tests.support.lmchat_screen import STEADY, LMChatScreen, answers, configure
from tests.support.scripted_products import llama_cpp
from tests.support.scripted_server import ScriptedServer


@pytest.mark.router
@pytest.mark.timeout(120)
def test_the_next_answer_really_comes_from_the_model_that_was_picked(tmp_path, real_router):
    small, thinking = real_router.models
    configure(tmp_path, STEADY + "max_tokens = 40\n")
    with LMChatScreen(tmp_path, real_router.url, "-m", small) as screen:
        screen.wait_for(re.compile(f"[●◆] {small} · "))
        screen.ask("Say hello.")
        screen.wait_for("answer saved", timeout_s=30)
        screen.type("\x0f", sees=re.compile(rf"{thinking}.*\n(?s:.*)Esc"))
        screen.type("think", sees="1 of 2")
        screen.type("\r")
        screen.wait_for(re.compile(rf"▌ [●◆] {thinking} ·"), timeout_s=30)
        screen.ask("And again?")
        screen.wait_until(lambda: len(answers(tmp_path)) == 2, "the second answer", 40)
        screen.wait_until(lambda: answers(tmp_path)[1].state.value == "complete", "its end", 40)
        assert [message.model for message in answers(tmp_path)] == [small, thinking]
        assert answers(tmp_path)[1].reasoning
        screen.wait_for("Thought for")
        screen.wait_for(re.compile(rf"─ .*{thinking}.* ─"))  # the line of the switch
        screen.type("\x1b2")
        screen.wait_for(re.compile(rf"▌ [●◆] {small} ·"), timeout_s=30)
        screen.ask("Who are you now?")
        screen.wait_until(lambda: len(answers(tmp_path)) == 3, "the third answer", 40)
        screen.wait_until(lambda: answers(tmp_path)[2].state.value == "complete", "its end", 40)
        assert answers(tmp_path)[2].model == small


def test_the_picker_opens_without_a_second_look_at_the_server(tmp_path):
    with llama_cpp(ScriptedServer()) as server, LMChatScreen(tmp_path, server.url) as screen:
        screen.wait_ready()
        server.stop()
        screen.type("\x0f")
        screen.wait_for(re.compile(r"● *tiny|tiny\.gguf.*Q4_1"))
