"""An answer whose lmchat is gone goes on at a real llama.cpp server, and the next start fetches it."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing, suppress

import httpx
import pytest

from lmchat.sessions.message import AnswerState
from tests.support.lmchat_screen import configure, stored
from tests.support.programs import LMCHAT, WAIT_S, Inside, start, wait_until
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, finish, json_reply, sse

pytestmark = pytest.mark.timeout(180)
_PROMPT = "Write a Python function that adds two numbers, with a short explanation."
_STEADY = "[chat]\ntemperature = 0\nseed = 1\nmax_tokens = 150\n"


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
        for (stats,) in connection.execute(query):
            ids = [json.loads(stats)["replay_id"]]
            return bool(
                httpx.post(f"{url}/v1/streams/lookup", json={"conversation_ids": ids}).json()
            )
    return False


def opened_again(home, url):
    """Open the last session ; return its last message."""
    done = Inside(home, url)("--plain", "-r", "last")
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


@pytest.mark.rule("R-42")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_an_answer_whose_lmchat_is_gone_is_whole_at_its_next_start(
    tmp_path, real_server, undisturbed, number
):
    home = tmp_path / "home"
    with begin(home, real_server.url) as process:
        wait_until(lambda: is_at_server(home, real_server.url), "the request is at the server")
        time.sleep(0.3 * undisturbed.stats.elapsed_ms / 1000)  # in the middle of the answer
        process.send_signal(number)
        assert process.wait(WAIT_S) == (-number if number == signal.SIGKILL else 128 + number)
    message = opened_again(home, real_server.url)
    assert message.state is AnswerState.COMPLETE
    assert message.text == undisturbed.text
    assert message.version == 1
    assert message.stats.completion_tokens == undisturbed.stats.completion_tokens
    assert message.stats.sampling == undisturbed.stats.sampling
    assert message.stats.limit == undisturbed.stats.limit
    assert message.stats.replay_id == ""
    assert message.stats.was_away


def test_an_answer_that_is_not_to_be_kept_gets_no_id_and_a_temporary_one_no_file(tmp_path, server):
    llama_cpp(server)
    server.on(CHAT, sse("Hi.", finish(), DONE))
    server.on("POST /v1/streams/lookup", json_reply([]))
    for name, config, words in (
        ("kept", _STEADY, []),
        ("temporary", _STEADY, ["--temporary"]),
        ("attached", f"{_STEADY}detach = false\n", []),
    ):
        home = tmp_path / name
        home.mkdir()
        configure(home, config)
        assert Inside(home, server.url)("--plain", *words, stdin="Hello\n").returncode == 0
    has_id = ["x-conversation-id" in request.headers for request in server.seen(CHAT)]
    assert has_id == [True, False, False]
    files = [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]
    assert [path.name for path in files if b"Hello" in path.read_bytes()] == []
