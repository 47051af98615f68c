from __future__ import annotations

from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import ModelLoading
from lmchat.servers.sending import sender
from tests.support import scripted_products as products
from tests.support.client_calls import ask, endpoint_of, events_of, replay, text_of
from tests.support.scripted_products import LLAMA, chat_reply, guarded, model_list
from tests.support.scripted_server import (
    Cut,
    raw_reply,
    text_reply,
)

KEY = "sk-1"


async def test_behind_a_prefix_everything_is_asked_behind_it_and_with_the_key(
    server, make_client, monkeypatch
):
    monkeypatch.setattr(sender, "LOADING_PAUSE_S", 0.01)
    models = model_list("tiny", owned_by="llamacpp", headers=LLAMA)
    server.on("GET /llm/v1/models", guarded(KEY, replay("error-401"), models))
    server.on("GET /llm/health", replay("loading-chat"))
    server.on("POST /llm/v1/chat/completions", replay("loading-chat"), chat_reply())
    endpoint, client = Endpoint.parse(f"{server.url}/llm/v1"), make_client(key=KEY)
    probed = await client.check(endpoint)
    assert (probed.product, probed.word) == ("llama.cpp", "ready")
    events, error = await events_of(client, ask(endpoint, product="llama.cpp"))
    assert (error, text_of(events), ModelLoading() in events) == (None, "Hello there.", True)
    assert {one.path.split("/")[1] for one in server.seen()} == {"llm"}
    assert {one.headers["authorization"] for one in server.seen()} == {f"Bearer {KEY}"}


async def test_a_server_of_which_only_the_list_can_be_had_is_used_with_that(server, client):
    products.llama_cpp(server).on("GET /props", raw_reply(Cut()))
    probed = await client.check(endpoint_of(server))
    assert (probed.product, probed.word) == ("llama.cpp", "ready")


ELSEWHERE = "https://me:secret@example.com/v1/models?token=secret"


async def test_what_answers_in_place_of_a_model_server_is_named(server, make_client):
    for status, location, verdict, detail in (
        (400, "", "not an LLM server", "400 Bad Request"),
        (502, "", "server error", "502 Bad Gateway"),
        (504, "", "timed out", ""),
        (301, ELSEWHERE, "redirects", "redirects to https://example.com/v1/models"),
    ):
        page = text_reply("<html><body>nginx", status=status, headers={"Location": location})
        server.on("GET /v1/models", page)
        probed = await make_client().check(endpoint_of(server))
        assert (probed.word, detail in probed.detail) == (verdict, True)
        assert detail.removeprefix("redirects ") in probed.next_step or not location
        assert "secret" not in repr(probed)
        assert "options" not in probed.next_step  # of a chat: there are none in this request
