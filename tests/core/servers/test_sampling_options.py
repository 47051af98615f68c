"""Sampling options: which names exist, which values they take, and who takes them."""

from __future__ import annotations

import pytest

from lmchat.base.errors import WrongUse
from lmchat.core.servers.events import RequestAdapted
from lmchat.core.servers.products import PRODUCTS, product_named
from lmchat.core.servers.request import Sampling
from lmchat.core.servers.sampling_options import (
    COMMON,
    FURTHER_OPTIONS,
    checked_option,
    parsed_value,
)
from tests.support.client_calls import answered, ask
from tests.support.scripted_products import CHAT, ollama


def test_a_typed_value_gets_the_type_of_its_option():
    for name, typed, value in [
        ("temperature", "0.5", 0.5),
        ("stop", "###", ("###",)),
        ("stop", '["a", "b"]', ("a", "b")),
        ("logit_bias", '{"15043": 5}', {"15043": 5}),
        ("logit_bias", '{"15043": false}', {"15043": False}),
        ("temperature", "2", 2),
        ("reasoning_effort", "500", "500"),
        ("reasoning_effort", "0", "none"),
        ("reasoning_effort", "low", "low"),
        ("samplers", '["top_k"]', ["top_k"]),
        ("extra.no_such_field", "[1]", [1]),
    ]:
        assert checked_option(name, parsed_value(typed)) == value


def test_a_wrong_option_is_refused_with_what_it_must_be():
    for name, value, words in [
        ("temperature", True, "temperature must be a number from 0 to 2, not true."),
        ("temperature", "", "temperature must be a number from 0 to 2, not empty."),
        ("temperature", 9, "temperature must be a number from 0 to 2, not 9."),
        ("top_p", -0.5, "top_p must be a number from 0 to 1, not -0.5."),
        ("max_tokens", 0, "max_tokens must be a whole number from 1 to 10000000, not 0."),
        ("top_k", 1.5, "top_k must be a whole number from 0 to 1000000, not 1.5."),
        ("reasoning_effort", -5, "must be one of none, minimal, low, medium, high, xhigh, max, or"),
        ("reasoning_effort", "hard", "or a number of tokens, not hard."),
        ("stop", [1], "a list of texts"),
        ("logit_bias", [1], "a table of token numbers"),
        ("tempratur", 1, "did you mean temperature?"),
        ("extra.", 1, "Unknown sampling option"),
        ("extra.messages", [], "extra.messages cannot be set: lmchat itself sets messages"),
        ("extra.Model", "", "extra.Model cannot be set: lmchat itself sets model"),
        (
            "extra.me\u017f\u017fAGES",
            [],
            "extra.me\u017f\u017fAGES cannot be set: lmchat itself sets messages",
        ),
    ]:
        with pytest.raises(WrongUse, match="(?s)." + words[1:].replace("?", r"\?")):
            checked_option(name, value)


def test_a_product_is_refused_what_it_ignores_with_the_list_of_what_it_takes():
    with pytest.raises(WrongUse, match="Ollama does not take top_k") as refused:
        product_named("Ollama").refuse_ignored(["top_k"])
    assert "temperature, top_p, max_tokens, stop, seed" in refused.value.next_step
    assert "extra.top_k" in refused.value.next_step


def test_a_window_is_no_option_of_a_request_and_the_step_says_how_to_set_it():
    ways = ("PARAMETER num_ctx TOKENS", "OLLAMA_CONTEXT_LENGTH=TOKENS ollama serve")
    for name in ("num_ctx", "n_ctx", "context_length"):
        with pytest.raises(WrongUse, match=f"{name} is no option of a request") as refused:
            checked_option(name, 4096)
        assert all(way in refused.value.next_step for way in (*ways, "lmchat models load"))
    with pytest.raises(WrongUse, match=r"Ollama ignores extra\.num_ctx in requests") as refused:
        product_named("Ollama").refuse_ignored(["logprobs", "extra.num_ctx"])
    assert all(way in refused.value.next_step for way in ways)
    assert product_named("llama.cpp").options.takes_option("extra.num_ctx"), "the user decides"


async def test_ollama_gets_probabilities_and_a_begun_answer_and_no_window(server, client):
    """Ollama 0.33 continues a last message of the model, and reports up to 20 tokens."""
    ollama(server)
    more = {"logprobs": 2, "extra.num_ctx": 4096, "extra.think": True}
    request = ask(server, product="Ollama", model="llama3.2:3b", more=more)
    events = await answered(client, request)
    (sent,) = server.seen(CHAT)
    assert (sent.json["logprobs"], sent.json["top_logprobs"], sent.json["think"]) == (True, 2, True)
    assert "num_ctx" not in sent.json
    (note,) = [one.note for one in events if isinstance(one, RequestAdapted)]
    assert note.startswith("Ollama does not take extra.num_ctx here")


def test_llama_cpp_takes_all_options_and_every_server_an_extra_field():
    assert all(
        product_named("llama.cpp").options.takes_option(name)
        for name in (*COMMON, *FURTHER_OPTIONS)
    )
    assert all(product.options.takes_option("extra.top_k") for product in PRODUCTS)


def test_options_replace_those_of_the_same_name_and_keep_the_others():
    sampling = Sampling(temperature=1, more={"top_k": 5}).with_options({"seed": 3, "top_k": 40})
    assert sampling.options == {"temperature": 1, "seed": 3, "top_k": 40}
