"""`lmchat decide`: what it asks, prints and returns."""

from __future__ import annotations

import json
import math

import pytest

from tests.support.programs import Inside
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, llama_cpp, lm_studio, ollama
from tests.support.scripted_server import DONE, Gate, Seen, delta, finish, sse, usage

Cli = Inside

QUESTION = "Is this mail spam?"


def labelled(seen: Seen) -> dict[str, str]:
    """Return the options of a request by their labels."""
    lines = seen.json["messages"][-1]["content"].splitlines()
    return dict(line.split(": ", 1) for line in lines if line[1:3] == ": ")


def chosen(**probabilities: float):
    """Reply with the first token, and the probabilities of it and of others."""
    return first_token(delta(next(iter(probabilities))), probabilities)


def first_token(chunk, probabilities, *before):
    top = [{"token": token, "logprob": math.log(prob)} for token, prob in probabilities.items()]
    chunk["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return sse(*before, chunk, finish("length"), DONE)


@pytest.fixture
def llama(server, cli):
    """A model that would say "no" with 80 %, but prefers the label A."""

    def play(seen: Seen):
        no = next(label for label, option in labelled(seen).items() if option == "no")
        return chosen(A=0.8, B=0.1, The=0.1) if no == "A" else chosen(B=0.5, A=0.4, The=0.1)

    llama_cpp(server)
    server.on(CHAT, play)
    return cli


def test_at_a_terminal_it_shows_what_it_waits_for(llama, server):
    started = Gate()
    server.on(CHAT, first_token(delta("A"), {"A": 0.9}, started), *server._routes[CHAT])
    argv = llama.argv("decide", QUESTION)
    with PtyProgram(argv, home=llama.home, size=(80, 10)) as program:
        program.wait_for("lmchat: waiting …")
        started.open()
        program.wait_exit()
        assert "…" not in program.text


def test_the_means_over_all_turned_options_decide(llama, server):
    value = llama.json("decide", QUESTION, "--json", code=10)
    assert [labelled(seen) for seen in server.seen(CHAT)] == [
        {"A": "yes", "B": "no"},
        {"A": "no", "B": "yes"},
    ]
    yes = (4 / 9 + 1 / 9) / 2
    assert list(value) == [
        *("choice", "probability", "probabilities", "model", "endpoint", "elapsed_ms"),
    ]
    assert (value["choice"], value["model"], value["endpoint"]) == ("no", "tiny.gguf", server.url)
    assert value["probabilities"] == {"yes": pytest.approx(yes), "no": pytest.approx(1 - yes)}
    assert value["probability"] == value["probabilities"]["no"]
    first = llama("decide", QUESTION, "--options", "no,yes")
    assert (first.returncode, first.stdout, first.stderr) == (0, "no 0.72\n", "")
    other = llama("decide", QUESTION)
    assert (other.returncode, other.stdout, other.stderr) == (10, "no 0.72\n", "")


def test_a_request_is_one_token_without_a_thought_or_samplers(llama, server):
    options = ("--set", "seed=7", "--set", "post_sampling_probs=true")
    llama("decide", QUESTION, *options, stdin="Buy now!\n")
    llama("decide", QUESTION, "--set", "cache_prompt=true")
    body, turned, *cached = (seen.json for seen in server.seen(CHAT))
    assert (body["max_tokens"], body["temperature"]) == (1, 1)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 100)
    assert body["post_sampling_probs"] is False
    assert body["grammar"] == "root ::= [AB]"
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert (body["seed"], turned["seed"]) == (7, 7)
    asked = (body, turned, *cached)
    assert [one["cache_prompt"] for one in asked] == [False, False, True, True]
    prompt = body["messages"][-1]["content"]
    assert prompt.startswith(f"{QUESTION}\n\nBuy now!\n\nA: yes\n")


def test_wrong_options_are_refused_and_nothing_is_sent(llama, server, alone):
    for options in (",".join(map(str, range(21))), ",".join("ABCDEFGHIJKLMNOPQRST")):
        done = llama("decide", QUESTION, "--options", options)
        assert (done.returncode, done.stdout) == (2, "")
        assert "decide needs 2 to 20 different options." in done.stderr
    assert not server.requests
    assert alone.json("decide", QUESTION, "--json", code=3)["detail"]["error"] == "no_server"


def test_without_probabilities_nothing_is_sent_or_an_unknown_server_is_asked_once(cli, server):
    done = cli("decide", QUESTION)
    assert (done.returncode, done.stdout) == (1, "")
    assert "The server does not report the probabilities of tokens." in done.stderr
    assert "reasoning_effort" not in done.stderr  # the user has set none
    (request,) = server.seen(CHAT)
    assert (request.json["logprobs"], request.json["top_logprobs"]) == (True, 20)
    lm_studio(server)
    detail = cli.json("decide", QUESTION, "--json", code=1)["detail"]
    assert detail["error"] == "unsupported"
    assert detail["message"] == "LM Studio does not report the probabilities of tokens."
    assert len(server.seen(CHAT)) == 1


def test_a_real_server_decides_whatever_the_order_of_the_options(real):
    options = ["an unpaid bill", "a cat"]
    first, again, turned = (
        decided(real, "What is this mail about? 'Please pay your invoice.'", words)
        for words in (options, options, options[::-1])
    )
    assert list(first) == options
    assert sum(first.values()) == pytest.approx(1)
    assert again == first
    assert turned == pytest.approx(first, abs=0.1)


def decided(cli, question, options):
    """Return the probabilities that `decide` prints."""
    done = cli("decide", question, "--options", ",".join(options), "--json", "--set", "seed=3")
    value = json.loads(done.stdout)
    assert done.returncode == (0 if value["choice"] == options[0] else 10)
    return value["probabilities"]


def test_it_decides_nothing_about_a_question_of_which_the_server_has_left_out_a_part(cli, server):
    """Ollama keeps about half of its window, and answers to these tokens."""

    def play(seen: Seen):
        yes = next(label for label, option in labelled(seen).items() if option == "yes")
        return first_token(delta(yes), {yes: 0.9}, usage(2058, 1))

    ollama(server, loaded=["llama3.2:3b"]).on(CHAT, play)
    detail = cli.json("decide", QUESTION, "--json", stdin="word " * 6000, code=1)["detail"]
    assert detail["error"] == "context_overflow"
    assert "has left out a part of the prompt" in detail["message"]
    assert len(server.seen(CHAT)) == 1
    assert cli("decide", QUESTION, stdin="Buy!").stdout == "yes 0.90\n"


def test_a_probability_that_the_server_has_not_told_is_null_and_said(cli, server):
    llama_cpp(server)

    def play(sign: str, top: object, prob: float):
        def reply(seen: Seen):
            yes = next(label for label, option in labelled(seen).items() if option == "yes")
            chunk = delta(yes)
            token = {"token": sign + yes, "logprob": math.log(prob), "top_logprobs": top}
            chunk["choices"][0]["logprobs"] = {"content": [token]}
            return sse(chunk, finish("length"), DONE)

        return reply

    for sign, top in (("", []), ("▁", None), ("Ġ", "odd"), (" ", [{"token": 4}])):
        server.on(CHAT, play(sign, top, 0.9))
        done = cli("decide", QUESTION, "--json")
        value = json.loads(done.stdout)
        assert value["probabilities"] == {"yes": pytest.approx(0.9), "no": None}, sign
        assert value["probability"] == value["probabilities"]["yes"]
        assert done.stderr == "lmchat: the server has not told how likely no is.\n"
    server.on(CHAT, play("", [], 0.4))  # "no" may have all the rest
    done = cli("decide", QUESTION)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the server has not told how likely no is." in done.stderr
