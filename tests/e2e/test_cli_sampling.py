"""Sampling options, from the command line and from the configuration to the request."""

from __future__ import annotations

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, delta, finish, sse

PRODUCT = llama_cpp

Cli = Inside

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


def test_typed_options_come_first_then_the_table_of_the_model_then_chat(cli, server):
    cli.configure(TABLES)
    options = ("--set", "top_k=7", "--set", "stop=###", "--set", "extra.no_such_field=[1]")
    value = cli.json("ask", "--json", *options, "Hi")
    cli("ask", "Hi")
    body, plain = [request.json for request in server.seen(CHAT)]
    assert (body["top_k"], body["stop"], body["no_such_field"]) == (7, ["###"], [1])
    assert value["sampling"] == {
        "temperature": 0.25,
        "min_p": 0.1,
        "top_k": 7,
        "stop": ["###"],
        "extra.no_such_field": [1],
        "seed": body["seed"],  # drawn by lmchat
    }
    assert (plain["temperature"], plain["top_k"], plain["min_p"]) == (0.25, 20, 0.1)
    shown = cli("config", "show").stdout
    lines = {" ".join(line.split()) for line in shown.splitlines()}
    assert any(line.startswith('models."tiny*" =') for line in lines)


def test_the_probabilities_of_tokens_are_asked_for_and_in_the_document(cli, server):
    top = [{"token": " yes", "bytes": [32, 121, 101, 115], "logprob": -0.25}]
    top.append({"token": "\x1b[2J", "bytes": [27, 91, 50, 74], "logprob": -1.5})
    chunk = delta(" yes")
    chunk["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    server.on(CHAT, sse(chunk, finish(), DONE))
    value = cli.json("ask", "--json", "--set", "logprobs=2", "Really?")
    body = server.seen(CHAT)[-1].json
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)
    expected = [{"token": entry["token"], "logprob": entry["logprob"]} for entry in top]
    assert value["logprobs"] == [{**expected[0], "top": expected}]


def test_a_reasoning_effort_is_a_number_of_tokens_wherever_it_is_set(cli, server):
    profile = "[profiles.short]\nreasoning_effort = 500\n"
    for text, words in (
        ("[chat]\nreasoning_effort = 500\n", ()),
        (profile, ("--profile", "short")),
        ('[models."tiny*"]\nreasoning_effort = 500\n', ()),
        ("", ("--set", "reasoning_effort=500")),
        ("", ("--effort", "500")),
    ):
        cli.configure(text)
        assert cli("ask", *words, "Hi").returncode == 0
        assert server.seen(CHAT)[-1].json["reasoning_budget_tokens"] == 500
    # in the plain chat, a profile of this session and /set
    for typed in ("/profile short", "/set reasoning_effort 500"):
        cli.configure(profile)
        cli("--plain", stdin=f"{typed}\nHi\n")
        assert server.seen(CHAT)[-1].json["reasoning_budget_tokens"] == 500
