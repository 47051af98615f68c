from __future__ import annotations

from tests.support.lmchat_screen import LMChatScreen
from tests.support.scripted_products import llama_cpp
from tests.support.scripted_server import ScriptedServer


def test_what_is_typed_in_one_go_with_the_key_is_looked_for(tmp_path):
    with llama_cpp(ScriptedServer()) as server, LMChatScreen(tmp_path, server.url) as screen:
        screen.wait_ready()
        screen.type("\x06abc", sees="no hits")
        assert "abc" not in screen.prompt_text
