from __future__ import annotations

from tests.support.lmchat_screen import LMChatScreen


def test_the_doctor_of_the_real_program_looks_at_the_run_that_it_is_opened_in(tmp_path, server):
    with LMChatScreen(tmp_path, server.url, size=(120, 60)) as screen:
        screen.wait_ready()
        screen.put("/doctor")
        screen.type("\r")
        screen.wait_for("A chat")
        screen.wait_for("A chat would use tiny")
        screen.wait_for("120 × 60.")
        screen.wait_for("checks")
        screen.type("\x1b")
        screen.wait_gone("A chat would use tiny")
