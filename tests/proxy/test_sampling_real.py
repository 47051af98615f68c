"""Sampling options at a real llama.cpp server: what it was sent, and what came of it."""

from __future__ import annotations

import httpx
import pytest

from lmchat.domain.message import Role, text_message
from lmchat.domain.product import Product
from lmchat.domain.request import ChatRequest, Sampling
from lmchat.domain.sampling import checked_option
from lmchat.domain.server import Endpoint
from lmchat.proxy import Client
from lmchat.proxy.model_cache import ModelCache
from lmchat.proxy.request_writer import RequestWriter

pytestmark = pytest.mark.timeout(120)  # where others compute too, each answer takes its time
PROMPT = "Name a colour."
_SHOWN = {
    "temperature": 0.5,
    "top_p": 0.75,
    "top_k": 7,
    "min_p": 0.25,
    "typical_p": 0.5,
    "max_tokens": 3,
    "seed": 11,
    "repeat_penalty": 1.25,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "stop": ["###"],
    "dynatemp_range": 0.5,
    "dynatemp_exponent": 1.5,
    "top_n_sigma": 2.0,
    "xtc_probability": 0.5,
    "xtc_threshold": 0.25,
    "repeat_last_n": 32,
    "dry_multiplier": 0.5,
    "dry_base": 2.0,
    "dry_allowed_length": 3,
    "dry_penalty_last_n": 16,
    "dry_sequence_breakers": ["\n"],
    "mirostat": 1,
    "mirostat_tau": 4.0,
    "mirostat_eta": 0.25,
    "ignore_eos": True,
    "n_keep": 2,
    "n_discard": 3,
    "min_keep": 2,
    "samplers": ["top_k", "temperature"],
    "adaptive_target": 0.5,
    "adaptive_decay": 0.5,
    "n_probs": 2,
    "post_sampling_probs": True,
    "grammar": "root ::= [a-z]+",
}
"""Values that differ from the defaults, of the options that the server shows in its settings."""
_UNDER_OTHER_NAMES = {"max_tokens": "n_predict"}


def _settings_at(url: str, sampling: Sampling) -> dict[str, object]:
    """Return the settings with which the server answers a request of lmchat."""
    endpoint = Endpoint.parse(url)
    request = ChatRequest(
        endpoint=endpoint,
        product=Product.LLAMA_CPP,
        model="any",
        messages=(text_message(Role.USER, PROMPT),),
        sampling=sampling,
    )
    body = RequestWriter(ModelCache(600)).body(request)
    body |= {"stream": False, "verbose": True}
    body.pop("stream_options", None)
    reply = httpx.post(f"{endpoint.base_url}/chat/completions", json=body, timeout=100)
    assert reply.status_code == 200, reply.text
    settings: dict[str, object] = reply.json()["__verbose"]["generation_settings"]
    return settings


def _first_token(url: str, text: str) -> int:
    reply = httpx.post(f"{Endpoint.parse(url).root_url}/tokenize", json={"content": text})
    return int(reply.json()["tokens"][0])


def test_each_option_arrives_in_the_settings_of_the_server(real_server):
    options = {name: checked_option(name, value) for name, value in _SHOWN.items()}
    settings = _settings_at(real_server.url, Sampling().with_options(options))
    for name, value in _SHOWN.items():
        shown = settings[_UNDER_OTHER_NAMES.get(name, name)]
        if name in ("stop", "dry_sequence_breakers", "samplers"):
            assert set(value) <= set(shown), name
        else:
            assert shown == pytest.approx(value), name


def test_sampling_on_the_backend_arrives_where_no_grammar_forbids_it(real_server):
    sampling = Sampling().with_options({"backend_sampling": True})
    assert _settings_at(real_server.url, sampling)["backend_sampling"] is True


async def test_a_bias_forces_a_word(real_server):
    options = {"logit_bias": {str(_first_token(real_server.url, " purple")): 100}, "seed": 1}
    async with Client(real_server.url) as client:
        answer = await client.chat(PROMPT, temperature=0, max_tokens=3, more=options)
    assert answer.text.strip().startswith("purple")
    assert answer.receipt.sampling == {"temperature": 0, "max_tokens": 3, **options}
