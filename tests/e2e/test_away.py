"""An answer whose lmchat is gone goes on at a real llama.cpp server, and the next start fetches it."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing, suppress

import httpx
import pytest

from lmchat.domain.message import AnswerState
from tests.e2e.test_kills import _COPIES, run_as_program
from tests.support.lmchat_screen import configure, stored
from tests.support.programs import LMCHAT, WAIT_S, Cli, Inside, start
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, finish, json_reply, sse

pytestmark = pytest.mark.timeout(180)
_PROMPT = "Write a Python function that adds two numbers, with a short explanation."
_STEADY = "[chat]\ntemperature = 0\nseed = 1\nmax_tokens = 150\n"
_KILLS = 50


def begin(home, url):
    """Start the plain chat in a home of its own, and send the prompt."""
    home.mkdir()
    (home / "lmchat").mkdir()
    configure(home, _STEADY)
    process = start([*LMCHAT, "--endpoint", url, "--plain"], home=home, stdin=-1)
    process.stdin.write(f"{_PROMPT}\n".encode())
    process.stdin.flush()
    return process


def is_at_server(home, url) -> bool:
    """Whether the server has the request of the running answer, whose id is on the disk before."""
    file = home / "lmchat" / "sessions.db"
    if not file.exists():
        return False
    with closing(sqlite3.connect(file)) as connection, suppress(sqlite3.OperationalError):
        query = "select receipt from messages where state = 'streaming'"
        for (receipt,) in connection.execute(query):
            ids = [json.loads(receipt)["replay_id"]]
            return bool(
                httpx.post(f"{url}/v1/streams/lookup", json={"conversation_ids": ids}).json()
            )
    return False


def wait_asked(home, url):
    deadline_s = time.monotonic() + WAIT_S
    while not is_at_server(home, url):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def killed_after(home, url, seconds: float):
    """Kill an lmchat so long after its request."""
    with begin(home, url) as process:
        wait_asked(home, url)
        time.sleep(seconds)
        process.kill()


def run_copy(home, url):
    """In a copied process: run the plain chat with the prompt as its input."""
    (home / "prompt").write_text(f"{_PROMPT}\n")
    with (home / "prompt").open() as prompt, (home / "out").open("wb") as out:
        os.dup2(prompt.fileno(), 0)
        sys.stdin = os.fdopen(0)
        run_as_program(home, out, ["--endpoint", url, "--plain"])


def killed_copy(home, url, seconds: float):
    """Do the same as `killed_after`, with a copy of a process that has imported lmchat already."""
    (home / "lmchat").mkdir(parents=True)
    configure(home, _STEADY)
    process = _COPIES.Process(target=run_copy, args=(home, url))
    process.start()
    wait_asked(home, url)
    time.sleep(seconds)
    process.kill()
    process.join()


def opened_again(home, url):
    """Open the last session in a new process; return its last message."""
    done = Cli(home, url, wait_s=60)("--plain", "-r", "last")
    assert done.returncode == 0, done.stderr
    return stored(home).messages[-1]


@pytest.fixture(scope="module")
def undisturbed(real_server, tmp_path_factory):
    home = tmp_path_factory.mktemp("whole") / "home"
    with begin(home, real_server.url) as process:
        process.communicate(timeout=60)
    message = stored(home).messages[-1]
    assert message.state is AnswerState.COMPLETE
    return message


def expect_whole(message, undisturbed):
    assert message.state is AnswerState.COMPLETE
    assert message.text == undisturbed.text
    assert message.version == 1
    assert message.receipt.completion_tokens == undisturbed.receipt.completion_tokens
    assert message.receipt.replay_id == ""


@pytest.mark.rule("R-42")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_a_killed_lmchat_has_the_whole_answer_at_its_next_start(
    tmp_path, real_server, undisturbed, share
):
    """It is killed after this share of the time that the answer takes on this machine."""
    home = tmp_path / "home"
    killed_after(home, real_server.url, share * undisturbed.receipt.elapsed_ms / 1000)
    message = opened_again(home, real_server.url)
    expect_whole(message, undisturbed)
    assert message.receipt.was_away


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills_lose_no_text(tmp_path, real_server, undisturbed):
    points = random.Random(42)  # noqa: S311 - the same points each time
    for number in range(_KILLS):
        home = tmp_path / str(number)
        killed_copy(home, real_server.url, points.uniform(0, 1.5))
        assert Inside(home, real_server.url)("--plain", "-r", "last").returncode == 0
        message = stored(home).messages[-1]
        expect_whole(message, undisturbed)


def test_a_closed_terminal_leaves_the_answer_running(tmp_path, real_server, undisturbed):
    home = tmp_path / "home"
    with begin(home, real_server.url) as process:
        wait_asked(home, real_server.url)
        time.sleep(0.3)
        process.send_signal(signal.SIGHUP)
        assert process.wait(WAIT_S) == 128 + signal.SIGHUP
    expect_whole(opened_again(home, real_server.url), undisturbed)


@pytest.mark.parametrize("words", [["--temporary"], []])
def test_an_answer_that_is_not_to_be_kept_gets_no_id(tmp_path, server, words):
    home = tmp_path / "home"
    llama_cpp(server)
    (home / "lmchat").mkdir(parents=True)
    configure(home, _STEADY if words else f"{_STEADY}detach = false\n")
    server.on(CHAT, sse("Hi.", finish(), DONE))
    server.on("POST /v1/streams/lookup", json_reply([]))
    assert Inside(home, server.url)("--plain", *words, stdin="Hello\n").returncode == 0
    assert "x-conversation-id" not in server.seen(CHAT)[0].headers
