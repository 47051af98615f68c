"""Files that another process holds: a locked one, and one that was stopped in a write."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from lmchat.core.config.state import read_state
from tests.support.held_files import HOLD_LOCKS, HOLD_SQLITE, held
from tests.support.lmchat_screen import ready_screen, stored
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp

Cli = Inside
PRODUCT = llama_cpp
_MORE_S = 4.5  # than the same command without a wait; one of 2 s makes it 3.5 s, two 5.5 s
FILES = ("state.toml", "credentials.toml", "config.toml")


def test_the_screen_ends_though_a_stopped_process_has_the_locks_and_says_what_is_not_saved(
    tmp_path, server
):
    with ready_screen(tmp_path, server.url) as screen:
        folder = screen.home / "lmchat"
        with (
            held(HOLD_LOCKS, *(folder / name for name in FILES)) as locks,
            held(HOLD_SQLITE, folder / "sessions.db") as sqlite,
        ):
            locks.send_signal(signal.SIGSTOP)
            sqlite.send_signal(signal.SIGSTOP)
            screen.type("\x02\x02", hides="No sessions yet.")
            start_s = time.monotonic()
            screen.type("\x11")
            assert screen.wait_exit() == 0
            assert time.monotonic() - start_s < 3
        assert "state.toml was not written before lmchat ended" in screen.text
        assert screen.left_behind() == []


def test_quitting_without_saving_does_not_wait_for_a_lock_and_that_of_the_folder_is_none(
    tmp_path, server
):
    with ready_screen(tmp_path, server.url) as screen:
        folder = screen.home / "lmchat"
        screen.ask("Before.", answers=1)
        command = ["flock", str(folder), "sh", "-c", "echo held; sleep 60"]
        with (
            held(HOLD_SQLITE, folder / "sessions.db"),
            subprocess.Popen(command, stdout=subprocess.PIPE) as other,  # noqa: S603 - ours
        ):
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            screen.type("\x14", sees="1 answered")
            screen.type("a draft")
            screen.wait_for("a draft")
            screen.type("\x11", sees="Quit without saving?")
            start_s = time.monotonic()
            screen.type("q")
            assert screen.wait_exit() == 0
            assert time.monotonic() - start_s < 2
            other.kill()
        assert "“Before.” could not be saved" in " ".join(screen.text.split())
    state, warning = read_state(folder / "state.toml")
    assert (state.recent[0].model, warning) == ("tiny.gguf", "")


@pytest.mark.parametrize("is_new", [False, True], ids=["used before", "new"])
def test_an_answer_that_cannot_be_saved_is_in_a_file_that_is_named_within_seconds(
    cli, server, is_new
):
    llama_cpp(server)
    server.on(CHAT, chat_reply("the answer"))
    _, usual_s = timed(cli, "ask", "hello") if is_new else timed(cli, "ask", "--save", "hello")
    file = cli.home / "lmchat" / "sessions.db"
    if is_new:
        for of_sessions in file.parent.glob("sessions.db*"):
            of_sessions.unlink()
    with held(HOLD_SQLITE, file):
        done, held_s = timed(cli, "ask", "--save", "the question")
    assert held_s - usual_s < _MORE_S
    assert done.stdout == "the answer\n"
    assert done.returncode == 1
    assert "another program has locked it" in done.stderr
    (unsaved,) = file.parent.glob("unsaved-*.json")
    assert f"could not be saved. lmchat import {unsaved} adds it." in done.stderr
    assert not [*file.parent.glob("*-answer-*")]  # else a session of answers alone
    assert "is imported, 2 messages" in cli("import", str(unsaved)).stdout


def test_a_batch_waits_for_a_held_file_once(cli, server):
    llama_cpp(server)
    server.on(CHAT, chat_reply("the answer"))
    prompts = "one\ntwo\nthree\n"
    _, usual_s = timed(cli, "batch", "--text", stdin=prompts)
    with held(HOLD_SQLITE, cli.home / "lmchat" / "sessions.db"):
        done, held_s = timed(cli, "batch", "--text", stdin=prompts)
    assert held_s - usual_s < _MORE_S
    assert (done.returncode, done.stdout.count("the answer")) == (0, 3)


@pytest.mark.timeout(120)
def test_a_change_of_a_session_waits_for_a_held_file_and_is_named_at_the_end(tmp_path, server):
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Before.", answers=1)
        for typed, words in (
            ("/rename Autumn leaves\r", "The title of"),
            ("/tag garden\r", "The tags of"),
            ("/set temperature=0.5\r", "The options of"),
            ("\x02p", "The pin of"),
        ):
            with held(HOLD_SQLITE, screen.home / "lmchat" / "sessions.db"):
                screen.type(f"{typed}\x11", sees="Quit without saving?")
                assert words in screen.text
                screen.type("\x1b", hides="Quit without saving?")
            screen.wait_gone("not saved")
        screen.type("\x11")
        assert screen.wait_exit() == 0
    header = stored(screen.home).header
    assert (header.title, header.tags, header.is_pinned) == ("Autumn leaves", ("garden",), True)
    assert header.sampling == {"temperature": 0.5}


def timed(cli, *words, **more):
    start_s = time.monotonic()
    done = cli(*words, **more)
    return done, time.monotonic() - start_s
