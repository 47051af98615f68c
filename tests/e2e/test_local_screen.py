from __future__ import annotations

import os
import re
import signal

import pytest

from tests.support.engine_home import engines_of, only_from, place_demo, with_library
from tests.support.lmchat_screen import LONG_PROMPT, STEADY, LMChatScreen, answers, configure
from tests.support.programs import clean_environment, is_running, wait_until
from tests.support.real_server.prepare import model_file

pytestmark = [pytest.mark.usefixtures("engine_parts"), pytest.mark.timeout(120)]

SLOW_S = 40
READY = re.compile(r"● smollm2-135m-instruct · built-in")
LOCAL = "[local]\ncontext = 2048\nthreads = 1\n"


def said(home):
    """Return the answers so far; none before the session is on the disk."""
    try:
        return answers(home)
    except IndexError:
        return []


def test_the_engine_outlives_ctrl_c_and_a_stop_and_ends_with_the_chat(tmp_path):
    configure(tmp_path, STEADY + LOCAL)
    place_demo(tmp_path / "lmchat", model_file())
    environment = with_library(clean_environment(tmp_path)) | only_from(tmp_path / "mirror")
    with LMChatScreen(tmp_path, "", "--local", env=environment) as screen:
        screen.wait_for(READY, SLOW_S)
        (first,) = engines_of(tmp_path)
        screen.ask(LONG_PROMPT)
        screen.wait_until(
            lambda: any(len(one.text) > 20 for one in said(tmp_path)), "words", SLOW_S
        )
        screen.type("\x03")
        screen.wait_stopped()

        os.killpg(os.getpgid(screen.process.pid), signal.SIGTSTP)
        screen.wait_until(lambda: screen.state() == "stopped", "it is stopped", SLOW_S)
        os.killpg(os.getpgid(screen.process.pid), signal.SIGCONT)
        screen.wait_until(lambda: screen.state() != "stopped", "it goes on")
        screen.ask("Say hello.")
        screen.wait_until(lambda: len(said(tmp_path)) == 2, "the next answer", SLOW_S)
        assert engines_of(tmp_path) == [first]

        screen.type("\x11")
        assert screen.wait_exit() == 0
        assert screen.left_behind() == []
        wait_until(lambda: not is_running(first), "the engine ends with the chat")
