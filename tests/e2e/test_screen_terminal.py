from __future__ import annotations

import re
import shlex
import sys
from contextlib import suppress

import pytest

from tests.support.lmchat_screen import configure, ready_screen
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Pause, finish, sse

PRODUCT = llama_cpp


def test_it_is_suspended_and_brought_back_by_a_shell(tmp_path, server):
    command = shlex.join([sys.executable, "-m", "lmchat", "--endpoint", server.url])
    with PtyProgram(["sh", "-i"], home=tmp_path, size=(120, 40), env={"PS1": "shell> "}) as shell:
        shell.wait_for("shell>")
        shell.type(f"{command}\r", sees="tiny.gguf ·")
        shell.type("/suspend", sees="/suspend")
        shell.wait_until(lambda: 2004 in shell.private_modes, "it has the terminal")
        shell.type("\x1b[F")
        shell.type("\r")
        shell.wait_until(lambda: 1049 not in shell.private_modes, "the shell's screen is back")
        shell.wait_for("shell>")
        shell.type("fg\r")
        shell.wait_until(lambda: 1049 in shell.private_modes, "lmchat's screen is back")
        shell.wait_for("tiny.gguf ·")
        shell.type("typed after it", sees="typed after it")
        shell.type("\x11")
        shell.wait_until(lambda: shell.text.count("shell>") == 3, "it has ended")
        shell.type("echo status $?\r", sees="status 0")


def test_without_a_shell_it_is_not_suspended_for_ever(tmp_path, server):
    with ready_screen(tmp_path, server.url) as screen:
        screen.put("/suspend")
        screen.type("\x1b[F")
        screen.type("\r", sees="lmchat was not started from a shell")
        assert screen.state() != "T"
        screen.put("still here")


def program_that(folder, code: str) -> str:
    script = folder / "other-program"
    script.write_text(f"#!/bin/sh\n{code}\n")
    script.chmod(0o700)
    return str(script)


def test_a_pager_that_is_called_twice_runs_once_and_the_terminal_is_given_back(tmp_path, server):
    pager = program_that(tmp_path, f"echo ran >> {tmp_path}/runs; cat > {tmp_path}/paged")
    with ready_screen(tmp_path, server.url, env={"PAGER": pager}) as screen:
        screen.ask("Hello?", answers=1)
        screen.type("\x1b[1;3A", sees="regenerate")
        screen.type("oo")
        screen.wait_until((tmp_path / "paged").exists, "the pager ran")
        screen.wait_until(lambda: screen.raw.count(b"\x1b[?1049h") == 2, "lmchat's screen is back")
        screen.wait_for("regenerate")
        screen.type("\x1b", hides="regenerate")
        screen.put("back again")
        screen.type("\x11")
        assert screen.wait_exit() == 0
        assert screen.left_behind() == []
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert (tmp_path / "paged").read_text().strip() == "Hello there."


@pytest.mark.timeout(60)
@pytest.mark.parametrize("keys", ["", "\x0f", "\x10", "\x1bOP", "\x0b", "\x05"])
def test_hardly_any_room_ends_nothing(tmp_path, server, keys):
    server.on(
        CHAT,
        sse(*[step for n in range(900) for step in (f"word{n} ", Pause(0.002))], finish(), DONE),
    )
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Go on.", sees="word9 ")
        screen.type(keys)
        for columns, lines in ((20, 5), (5, 60), (4, 10), (2, 2), (1, 1), (300, 1), (1, 50)):
            seen = len(screen.raw)
            screen.resize(columns, lines)
            with suppress(
                AssertionError
            ):  # of what was drawn before nothing may change in so little room
                screen.wait_until(lambda seen=seen: len(screen.raw) > seen, "it draws", 1)
        screen.resize(120, 40)
        screen.wait_for("llama.cpp")
        screen.type("\x1b", sees=re.compile(r"word\d"))
        assert screen.process.poll() is None


def test_the_terminal_is_asked_for_its_background_after_the_first_paint_and_only_without_a_theme(
    tmp_path, server
):
    with ready_screen(tmp_path, server.url) as screen:
        screen.wait_for_raw(b"\x1b]11;?")
        assert b"looking" in screen.raw.partition(b"\x1b]11;?")[0]
        screen.type("\x1b]11;rgb:0/0/0\x1b\\typed", sees="▌ typed")
    configure(tmp_path, "[ui]\ntheme = 'light'\n")
    with ready_screen(tmp_path, server.url) as screen:
        screen.type("typed", sees="▌ typed")
        assert b"\x1b]11;?" not in screen.raw


def test_what_is_typed_in_one_go_with_the_key_is_looked_for(screen):
    screen.type("\x06abc", sees="no hits")
    assert "abc" not in screen.prompt_text


def test_the_doctor_of_the_real_program_looks_at_the_run_that_it_is_opened_in(tmp_path, server):
    with ready_screen(tmp_path, server.url, size=(120, 60)) as screen:
        screen.put("/doctor")
        screen.type("\r", sees="A chat would use tiny")
        screen.wait_for("120 × 60.")
        screen.wait_for("checks")
        screen.type("\x1b", hides="A chat would use tiny")
