from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import ModelLoading
from lmchat.core.servers.sending import exchange
from lmchat.core.sessions.message import Role, text_message
from tests.support.client_calls import answered, ask, events_of, replay, text_of
from tests.support.scripted_products import CHAT, LLAMA, chat_reply, guarded, model_list
from tests.support.scripted_server import (
    error_reply,
    json_reply,
)

KEY = "sk-1"


async def test_behind_a_prefix_everything_is_asked_behind_it_and_with_the_key(
    server, make_client, monkeypatch
):
    monkeypatch.setattr(exchange, "LOADING_PAUSE_S", 0.01)
    models = model_list("tiny", owned_by="llamacpp", headers=LLAMA)
    server.on("GET /llm/v1/models", guarded(KEY, replay("error-401"), models))
    server.on("GET /llm/health", replay("loading-chat"))
    server.on("POST /llm/v1/chat/completions", replay("loading-chat"), chat_reply())
    endpoint = Endpoint.parse(f"{server.url}/llm/v1")
    client = make_client(key=KEY)
    probed = await client.models.check(endpoint)
    assert (probed.product, probed.word) == ("llama.cpp", "ready")
    events, error = await events_of(client, ask(endpoint, product="llama.cpp"))
    assert (error, text_of(events), ModelLoading() in events) == (None, "Hello there.", True)
    assert {one.path.split("/")[1] for one in server.seen()} == {"llm"}
    assert {one.headers["authorization"] for one in server.seen()} == {f"Bearer {KEY}"}


@pytest.mark.rule("R-31")
async def test_a_server_that_does_not_stream_is_asked_for_the_whole_answer(server, make_client):
    """GPT4All takes neither streams nor most options, and answers with 16 tokens by itself."""

    def chat(seen):
        known = {"model", "messages", "stream", "max_tokens", "temperature"}
        for name in seen.json:
            if name not in known or (name == "stream" and seen.json[name]):
                return error_reply(400, f"'{name}' is not supported", type="invalid_request_error")
        message = {"role": "assistant", "content": "In May."}
        return json_reply({"choices": [{"message": message, "finish_reason": "stop"}]})

    server.on(CHAT, chat)
    for product, refused in (("GPT4All", 0), ("OpenAI-compatible", 1)):
        client = make_client()
        for round_number in range(2):
            before = len(server.seen(CHAT))
            events = await answered(client, ask(server, product=product))
            assert text_of(events) == "In May."
            asked = len(server.seen(CHAT)) - before
            assert asked == 1 + (refused if round_number == 0 else 0), "the form is remembered"
    assert server.seen(CHAT)[0].json["max_tokens"] == 4096


async def test_vllm_and_sglang_continue_a_text_by_their_own_fields(server, client):
    """Tried with vLLM 0.32: without the fields it starts a new answer."""
    server.on(CHAT, chat_reply(" high."))
    started = (text_message(Role.USER, "Hi"), text_message(Role.ASSISTANT, "Peas climb"))
    for product, fields in (
        ("vLLM", {"continue_final_message": True, "add_generation_prompt": False}),
        ("SGLang", {"continue_final_message": True}),
        ("llama.cpp", {}),
    ):
        request = ask(server, product=product)
        await answered(client, request)
        await answered(client, replace(request, messages=started))
        asked, continued = (one.json for one in server.seen(CHAT)[-2:])
        assert continued["messages"][-1] == {"role": "assistant", "content": "Peas climb"}
        assert {name: continued[name] for name in _PREFILL & set(continued)} == fields
        assert not _PREFILL & set(asked), "a prompt is no text to continue"


_PREFILL = {"continue_final_message", "add_generation_prompt"}
