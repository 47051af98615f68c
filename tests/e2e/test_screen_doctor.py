from __future__ import annotations

from tests.support.lmchat_screen import ready_screen


def test_the_doctor_of_the_real_program_looks_at_the_run_that_it_is_opened_in(tmp_path, server):
    with ready_screen(tmp_path, server.url, size=(120, 60)) as screen:
        screen.put("/doctor")
        screen.type("\r", sees="A chat")
        screen.wait_for("A chat would use tiny")
        screen.wait_for("120 × 60.")
        screen.wait_for("checks")
        screen.type("\x1b", hides="A chat would use tiny")
