from __future__ import annotations

import pytest

from tests.support.lmchat_screen import LMChatScreen

pytestmark = pytest.mark.leaf("doctor")


def test_a_server_whose_address_was_only_typed_is_examined_too(tmp_path, server):
    with LMChatScreen(tmp_path) as screen:
        screen.wait_for("Type an address")
        screen.type("\r", sees="Host and port")
        screen.type(server.url)
        screen.type("\r")
        screen.wait_ready()
        screen.put("/doctor")
        screen.type("\r", sees="A chat would use tiny")
