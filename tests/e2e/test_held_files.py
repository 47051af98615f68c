"""Files that another process holds: a locked one, and one that was stopped in a write."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from lmchat.config.state import read_state
from tests.support.held_files import HOLD_LOCKS, held
from tests.support.lmchat_screen import ready_screen
from tests.support.scripted_products import llama_cpp

PRODUCT = llama_cpp
FILES = ("sessions.db", "state.toml", "credentials.toml", "config.toml")


@pytest.mark.parametrize("is_stopped", [False, True], ids=["sleeps", "stopped"])
def test_the_screen_ends_though_a_process_keeps_the_locks_and_says_what_is_not_saved(
    tmp_path, server, is_stopped
):
    with ready_screen(tmp_path, server.url) as screen:
        folder = screen.home / "lmchat"
        with held(HOLD_LOCKS, *(folder / name for name in FILES)) as other:
            if is_stopped:
                other.send_signal(signal.SIGSTOP)
            screen.type("\x02\x02", hides="No sessions yet.")
            begin_s = time.monotonic()
            screen.type("\x11")
            assert screen.wait_exit() == 0
            assert time.monotonic() - begin_s < 3
        assert "state.toml was not written before lmchat ended" in screen.text
        assert screen.left_behind() == []


def test_quitting_without_saving_does_not_wait_for_a_lock(tmp_path, server):
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Before.", answers=1)
        with held(HOLD_LOCKS, *(screen.home / "lmchat" / name for name in FILES)):
            screen.type("a draft")
            screen.wait_for("a draft")
            screen.type("\x11", sees="Quit without saving?")
            begin_s = time.monotonic()
            screen.type("q")
            assert screen.wait_exit() == 0
            assert time.monotonic() - begin_s < 2
        assert "“Before.” could not be saved" in " ".join(screen.text.split())


def test_a_lock_of_the_folder_holds_up_nothing(tmp_path, server):
    with ready_screen(tmp_path, server.url) as screen:
        command = ["flock", str(screen.home / "lmchat"), "sh", "-c", "echo held; sleep 60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as other:  # noqa: S603 - ours
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            screen.type("\x02\x02", hides="No sessions yet.")
            screen.type("\x11")
            assert screen.wait_exit() == 0
            other.kill()
    state, warning = read_state(screen.home / "lmchat" / "state.toml")
    assert (state.has_sessions, warning) == (False, "")
