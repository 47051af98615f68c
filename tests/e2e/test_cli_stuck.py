"""A model that repeats itself: what commands and the plain chat say on stderr, and how they end it."""

from __future__ import annotations

import json

import pytest

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, delta, finish, json_reply, sse

Cli = Inside
PRODUCT = llama_cpp
CONTROL = "POST /v1/chat/completions/control"
LINE = ("Wait, let me read the question again. The user wants a number, so I count. " * 2)[:149]
TIMES = 250  # above 8,000 tokens
TOLD = "The {} has repeated itself 194 times."
AT_LIMIT = "The {} has repeated itself 7 times."
ACT = '[chat]\nstuck = "act"\n'
CASE = '[[case]]\nname = "beds"\nprompt = "How many beds?"\nexpect = "count"\n'


def loop(kind: str = "content", times: int = TIMES) -> list[dict[str, object]]:
    parts = (LINE[:70], LINE[70:], ".")
    return [delta(**{kind: part}) for part in parts * times]  # type: ignore[arg-type]


def looping(kind: str = "content"):
    """Return a reply that never ends, so that the test ends only if the client ends it."""
    return sse(*loop(kind), Gate())


def ended(*parts):
    return sse(*parts, finish("stop"), DONE)


def test_commands_tell_it_once_on_stderr_and_their_results_stay_as_they_are(cli, server):
    server.on(CHAT, ended(*loop("reasoning_content"), *loop()))
    note = "lmchat: " + TOLD
    done = cli("ask", "--json", "How many beds?")
    assert done.stderr.splitlines() == [
        f"{note.format('thought')} Ctrl+C stops it.",
        f"{note.format('answer')} Ctrl+C stops it.",
    ]
    document = json.loads(done.stdout)
    assert (document["finish_reason"], document["reply"]) == ("stop", f"{LINE}." * TIMES)
    assert "stuck" not in document

    done = cli("batch", "--text", "-", stdin="How many beds?\n")
    assert done.stderr.count("repeated itself") == 2
    assert f"lmchat: 1: {TOLD.format('thought')}\n" in done.stderr
    row = json.loads(done.stdout)
    assert (row["finish_reason"], "stuck" in row) == ("stop", False)

    cli.configure('[chat]\nstuck = "off"\n')
    assert cli("ask", "How many beds?").stderr == ""


def test_a_shorter_repetition_is_told_if_a_limit_has_ended_the_answer(cli, server):
    for reason, note in (("stop", ""), ("length", f" {AT_LIMIT.format('answer')}\n")):
        server.on(CHAT, sse(*loop(times=8), finish(reason), DONE))
        for words in (("ask", "-"), ("batch", "--text", "-")):
            told = cli(*words, stdin="How many beds?\n").stderr
            assert (told.count("repeated itself"), note in told) == (bool(note), True)


def test_with_act_an_answer_is_stopped_and_its_row_says_so(cli, server, tmp_path):
    cli.configure(ACT)
    server.on(CHAT, looping())
    stopped = f"{TOLD.format('answer')} lmchat stops it."

    done = cli("ask", "--json", "How many beds?")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert f"lmchat: {stopped}\n" in done.stderr
    assert (document["stuck"], document["finish_reason"], document["state"]) == (
        True,
        None,
        "stopped",
    )
    assert document["reply"].startswith(LINE)
    done = cli("batch", "--text", "-", stdin="How many beds?\n")
    row = json.loads(done.stdout)
    assert (row["stuck"], row["finish_reason"]) == (True, None)
    assert done.returncode == 0
    assert f"lmchat: 1: {stopped}\n" in done.stderr

    (tmp_path / "cases.toml").write_text(CASE)
    done = cli("eval", str(tmp_path / "cases.toml"), "--json")
    assert json.loads(done.stdout)["cases"][0]["stuck"] is True

    done = cli("--plain", stdin="How many beds?\n")
    assert done.stderr.splitlines()[-1] == f"lmchat: {stopped}"


@pytest.mark.parametrize("command", ["ask", "batch"])
def test_with_act_a_thought_is_ended_where_the_server_can_and_else_the_answer_is_stopped(
    cli, server, command
):
    words = {"ask": ("ask", "--json", "-"), "batch": ("batch", "--text", "-")}[command]
    thought = TOLD.format("thought")
    cli.configure(ACT)
    told = Gate()

    def control(_):
        told.open()
        return json_reply({"success": True})

    server.on(CONTROL, control)
    more = delta(reasoning_content="So.")
    server.on(CHAT, ended(*loop("reasoning_content"), more, told, delta("Four.")))
    done = cli(*words, stdin="How many beds?\n")
    row = json.loads(done.stdout)
    assert (row["reply"], row["stuck"], row["finish_reason"]) == ("Four.", True, "stop")
    assert (done.returncode, done.stderr.count("repeated itself")) == (0, 1)
    assert f"{thought} lmchat ends it.\n" in done.stderr

    # a server that does not know the request: the thought is found to repeat itself again
    server.on(CONTROL, json_reply({}, status=404))
    server.on(CHAT, sse(*loop("reasoning_content", 2 * TIMES), Gate()))
    done = cli(*words, stdin="How many beds?\n")
    row = json.loads(done.stdout)
    assert (row["reply"], row["stuck"]) == ("", True)
    assert f"{thought} lmchat stops it.\n" in done.stderr
