"""One prompt for several models."""

from __future__ import annotations

import json
import signal

from tests.support.programs import Inside, wait_until
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, LLAMA, router, router_rows
from tests.support.scripted_server import DONE, Gate, Hold, finish, json_reply, sse

PRODUCT = router

Cli = Inside
MODELS = ("-m", "small", "-m", "large")


def test_each_model_is_loaded_and_asked_in_turn_and_a_table_ends_the_answers(cli, server):
    done = cli("compare", *MODELS, "--set", "top_k=3", "Hi")
    assert (done.returncode, done.stderr) == (0, "")
    asked = [(request.json["model"], request.json["top_k"]) for request in server.seen(CHAT)]
    assert asked == [("small", 3), ("large", 3)]
    assert len(server.seen("POST /models/load")) == 1
    *answers, _, head, small, large = done.stdout.splitlines()
    assert answers == ["## small", "Hello there.", "", "## large", "Hello there."]
    assert head.split() == ["MODEL", "LOAD", "FIRST", "TOKEN", "SPEED", "TOKENS", "TIME"]
    assert (small.split()[0], large.split()[0]) == ("small", "large")
    assert not cli.json("sessions", "--json")["data"]


def test_an_answer_that_was_cut_says_so(cli, server):
    server.on(CHAT, sse("Be", finish("length"), DONE))
    assert cli("compare", *MODELS, "Hi").stderr.count("the answer was cut short") == 2


def test_several_runs_give_medians_and_json_has_all_stats(cli, server):
    value = cli.json("compare", *MODELS, "--runs", "3", "--json", "Hi")
    assert len(server.seen(CHAT)) == 6
    first, second = value["models"]
    assert list(first) == [
        *("model", "endpoint", "runs", "load_s", "ttft_ms", "tokens_per_second"),
        *("completion_tokens", "elapsed_ms", "sampling", "prompt_cut", "reply", "detail"),
    ]
    assert (first["runs"], first["load_s"], first["reply"]) == (3, None, "Hello there.")
    assert second["load_s"] is not None
    seeds = [request.json["seed"] for request in server.seen(CHAT)]
    assert len(set(seeds)) == 6
    assert [one["sampling"]["seed"] for one in (first, second)] == [seeds[0], seeds[3]]
    assert [one["turns"] for one in cli.json("stats", "--json")["data"]] == [3, 3]


def test_a_model_is_loaded_first_if_the_one_before_has_taken_its_place(cli, server):
    """The server has memory for one model, and `small` was loaded at the start."""
    states = {"small": "loaded", "large": "unloaded"}

    def load(seen):
        states.update(dict.fromkeys(states, "unloaded") | {seen.json["model"]: "loaded"})
        return json_reply({"success": True}, headers=LLAMA)

    server.on("GET /v1/models", lambda _: router_rows(**states)).on("POST /models/load", load)
    value = cli.json("compare", "-m", "large", "-m", "small", "--json", "Hi")
    assert None not in [model["load_s"] for model in value["models"]]


def test_at_a_terminal_it_shows_what_it_waits_for(cli, server):
    loading = Gate()
    started = Gate()
    (load,) = server._routes["POST /models/load"]

    def load_slowly(seen):
        load(seen)
        return json_reply({"success": True}, headers=LLAMA, before=[loading])

    server.on("POST /models/load", load_slowly)
    server.on(CHAT, sse(started, "Beans.", finish(), DONE), *server._routes[CHAT])
    with PtyProgram(cli.argv("compare", *MODELS, "Hi"), home=cli.home, size=(80, 20)) as program:
        program.wait_for("lmchat: waiting …")
        started.open()
        program.wait_for("Beans.")
        program.wait_for("lmchat: loading …")
        loading.open()
        assert program.wait_exit() == 0
        assert "…" not in program.text


def test_after_ctrl_c_the_models_that_have_answered_are_reported(cli, server):
    server.on(CHAT, *server._routes[CHAT], sse("Half", Hold()))
    running = cli.start("compare", *MODELS, "--json", "Hi")
    wait_until(lambda: len(server.seen(CHAT)) == 2, "the second model")
    running.send_signal(signal.SIGINT)
    stdout, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert [model["model"] for model in json.loads(stdout)["models"]] == ["small"]
