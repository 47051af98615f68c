from __future__ import annotations

import re
from contextlib import suppress

import pytest

from tests.support.lmchat_screen import leave, ready_screen
from tests.support.programs import put_script
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Pause, finish, sse

PRODUCT = llama_cpp

_ON_MESSAGE = "d delete"  # in the row of keys while a message has the focus


def test_a_pager_runs_once_and_the_terminal_is_given_back(tmp_path, server):
    script = f"echo ran >> {tmp_path}/runs; cat > {tmp_path}/paged; sleep 0.5"
    pager = put_script(tmp_path / "pager", script)
    with ready_screen(tmp_path, server.url, env={"PAGER": str(pager)}) as screen:
        screen.ask("Hello?", answers=1)
        screen.type("\x1b[1;3A", sees=_ON_MESSAGE)
        screen.type("o")
        screen.wait_until((tmp_path / "paged").exists, "the pager ran")
        screen.wait_until(lambda: screen.raw.count(b"\x1b[?1049h") == 2, "lmchat's screen is back")
        screen.wait_for("delete")  # the message is marked, or has its letters again
        screen.type("\x1b[27u", hides="delete")
        screen.put("back again")
        leave(screen)
        assert screen.left_behind() == []
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert (tmp_path / "paged").read_text().strip() == "Hello there."


@pytest.mark.timeout(120)
def test_hardly_any_room_ends_nothing(tmp_path, server):
    words = [step for n in range(3000) for step in (f"word{n} ", Pause(0.004))]
    server.on(CHAT, sse(*words, finish(), DONE))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Go on.", sees="word9 ")
        for keys in ("", "\x0f", "\x10", "\x1bOP", "\x0b", "\x05"):
            screen.type(keys)
            for columns, lines in ((20, 5), (5, 60), (1, 1), (300, 1)):
                seen = len(screen.raw)
                screen.resize(columns, lines)
                with suppress(AssertionError):  # in so little room, nothing may change
                    screen.wait_until(lambda seen=seen: len(screen.raw) > seen, "it draws", 0.3)
            screen.resize(120, 40)
            screen.wait_for("llama.cpp")
            if keys:
                screen.type("\x1b")
            screen.wait_for(re.compile(r"word\d"))
            screen.wait_for("Esc stop")
            assert screen.process.poll() is None


def test_a_new_size_counts_also_if_a_terminal_that_wants_to_tell_it_is_silent(tmp_path, server):
    with ready_screen(tmp_path, server.url) as screen:
        screen.type("\x1b[?2048;2$y")  # it knows reports of its size
        screen.wait_until(lambda: b"\x1b[?2048h" in screen.raw, "they are wanted")
        screen.resize(60, 18)
        screen.put("hello")
        leave(screen)


def test_the_terminal_is_asked_for_its_background_after_the_first_paint(tmp_path, server):
    with ready_screen(tmp_path, server.url, size=(120, 60)) as screen:
        screen.wait_until(lambda: b"\x1b]11;?" in screen.raw, "the question")
        assert b"looking" in screen.raw.partition(b"\x1b]11;?")[0]
        screen.type("\x1b]11;rgb:0/0/0\x1b\\typed", sees="▌ typed")
        screen.type("\x15", hides="typed")
        light = b"48;2;252;251;248"  # of the theme
        assert b"\x1b[?2031h" in screen.raw
        assert light not in screen.raw
        screen.type("\x1b[?997;2n")
        screen.wait_until(lambda: screen.raw.count(b"\x1b]11;?") == 2, "it is asked again")
        screen.type("\x1b]11;rgb:f/f/f\x1b\\")
        screen.wait_until(lambda: light in screen.raw, "the light theme")

        screen.put("/suspend")  # without a shell it would not come back
        screen.type("\x1b[F")
        screen.type("\r", sees="lmchat was not started from a shell")
        assert screen.state() != "stopped"
        screen.type("\x15")
        screen.wait_until(lambda: "/suspend" not in screen.prompt_text, "an empty prompt")

        screen.put("/doctor")
        screen.type("\r", sees="A chat would use tiny")
        screen.wait_for("checks")
        screen.type("\x1b", hides="A chat would use tiny")
