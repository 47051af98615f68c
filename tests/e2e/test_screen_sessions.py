from __future__ import annotations

import re

import pytest

from tests.support.lmchat_screen import LMChatScreen, leave
from tests.support.scripted_products import CHAT, LLAMA, llama_cpp
from tests.support.scripted_server import Gate, json_reply, sse

PRODUCT = llama_cpp


@pytest.mark.rule("R-25")
def test_a_session_waits_for_the_one_slot_of_the_server(tmp_path, server):
    first_end = Gate()
    server.on("GET /props", json_reply({"total_slots": 1}, headers=LLAMA))
    server.on(CHAT, sse("the first ", first_end), sse("the second ", Gate()))
    with LMChatScreen(tmp_path, server.url, "-r", "nosuchsession") as screen:
        screen.wait_for("nosuchsession")  # one sentence, and the chat goes on
        assert "Traceback" not in screen.text
        screen.wait_ready()
        screen.ask("One.", sees="the first")
        screen.type("\x0e", hides="the first")
        screen.ask("Two.", sees="queued")
        first_end.open()
        screen.wait_for("the second")
        leave(screen)
        told = re.search(
            r"To continue “Two\.”: (lmchat -r [0-9a-f]{8})$", screen.text, re.MULTILINE
        )
    assert told
    with LMChatScreen(tmp_path, server.url, *told[1].split()[1:]) as screen:
        screen.wait_for("the second")
        leave(screen)
