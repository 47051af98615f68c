"""Sampling options on the command line and in the configuration."""

from __future__ import annotations

import json

import pytest

from tests.support.lmchat_screen import configure
from tests.support.scripted_products import CHAT, llama_cpp, ollama, router
from tests.support.scripted_server import DONE, delta, finish, sse

TABLES = """
[chat]
temperature = 0.25
top_k = 10
[models."tiny*"]
top_k = 20
min_p = 0.1
[models."*"]
top_k = 30
"""


@pytest.fixture
def llama(server, cli):
    llama_cpp(server)
    return cli


def _last_body(server):
    return server.seen(CHAT)[-1].json


def test_typed_options_are_sent_and_said_in_the_document(llama, server):
    options = ("--set", "top_k=7", "--set", "stop=###", "--set", "extra.no_such_field=[1]")
    value = llama.json("ask", "--json", *options, "Hi")
    body = _last_body(server)
    assert (body["top_k"], body["stop"], body["no_such_field"]) == (7, ["###"], [1])
    assert value["sampling"] == {
        "top_k": 7,
        "stop": ["###"],
        "extra.no_such_field": [1],
        "seed": body["seed"],  # drawn by lmchat
    }


def test_the_probabilities_of_tokens_are_asked_for_and_in_the_document(llama, server):
    top = [{"token": " yes", "bytes": [32, 121, 101, 115], "logprob": -0.25}]
    top.append({"token": "\x1b[2J", "bytes": [27, 91, 50, 74], "logprob": -1.5})
    chunk = delta(" yes")
    chunk["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    server.on(CHAT, sse(chunk, finish(), DONE))
    value = llama.json("ask", "--json", "--set", "logprobs=2", "Really?")
    assert (_last_body(server)["logprobs"], _last_body(server)["top_logprobs"]) == (True, 2)
    expected = [{"token": entry["token"], "logprob": entry["logprob"]} for entry in top]
    assert value["logprobs"] == [{**expected[0], "top": expected}]


def test_each_answer_gets_another_seed_unless_one_is_set(llama, server):
    for _ in range(2):
        llama("ask", "Hi")
    llama("ask", "--set", "seed=5", "Hi")
    llama("ask", "--set", "extra.seed=6", "Hi")
    first, second, *set_seeds = [request.json["seed"] for request in server.seen(CHAT)]
    assert first != second
    assert set_seeds == [5, 6]


def test_the_command_line_comes_before_the_table_of_the_model_and_that_before_chat(llama, server):
    configure(llama.home, TABLES)
    llama("ask", "Hi")
    body = _last_body(server)
    assert (body["temperature"], body["top_k"], body["min_p"]) == (0.25, 20, 0.1)
    llama("ask", "--set", "top_k=40", "Hi")
    assert (_last_body(server)["top_k"], _last_body(server)["min_p"]) == (40, 0.1)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("tempratur=1", "did you mean temperature?"),
        ("top_p=1.5", "top_p must be a number from 0 to 1, not 1.5."),
        ("top_k", "--set needs NAME=VALUE"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_sent(llama, server, typed, words):
    done = llama("ask", "--set", typed, "Hi")
    assert done.returncode == 2
    assert words in done.stderr
    assert server.seen(CHAT) == []


def test_an_option_that_the_server_ignores_is_refused_with_those_that_it_takes(cli, server):
    ollama(server)
    done = cli("ask", "--json", "--set", "top_k=5", "Hi")
    assert (done.returncode, server.seen(CHAT)) == (2, [])
    assert "Ollama does not take top_k" in json.loads(done.stdout)["detail"]["message"]
    assert "It takes temperature, top_p, max_tokens, stop, seed" in done.stderr


def test_an_option_of_the_configuration_that_the_server_ignores_is_told_and_left_out(cli, server):
    ollama(server)
    configure(cli.home, "[chat]\ntop_k = 5\n")
    done = cli("ask", "Hi")
    assert done.returncode == 0
    assert "Ollama does not support top_k, as far as lmchat knows. It is not sent." in done.stderr
    assert "top_k" not in _last_body(server)


def test_compare_sends_typed_options_to_every_model(cli, server):
    router(server)
    done = cli("compare", "--set", "top_k=3", "-m", "small", "-m", "large", "Hi")
    assert done.returncode == 0, done.stderr
    assert [request.json["top_k"] for request in server.seen(CHAT)] == [3, 3]


def test_config_show_names_the_origin_of_each_option(cli):
    configure(cli.home, TABLES)
    shown = cli("config", "show", "--set", "seed=5", "--set", "mirostat=1").stdout
    lines = {" ".join(line.split()) for line in shown.splitlines()}
    assert any(line.startswith("chat.top_k = 10") and "file" in line for line in lines)
    assert any(line.startswith("chat.seed = 5") and "flag (--set)" in line for line in lines)
    assert any(line.startswith("chat.mirostat = 1") for line in lines)
    assert any(line.startswith('models."tiny*" =') for line in lines)


def test_config_check_finds_mistakes_in_tables_of_models_with_their_line(cli):
    configure(cli.home, '[models."tiny*"]\ntop_k = 20\ntop_p = 3\nsystem_prompt = "x"\n')
    done = cli("config", "check")
    assert done.returncode != 0
    assert "line 3: models.tiny*.top_p must be from 0 to 1" in done.stdout + done.stderr
    assert "line 4: models.tiny*.system_prompt is unknown" in done.stdout + done.stderr
