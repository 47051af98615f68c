"""Servers that take a model out of memory while it is not used."""

from __future__ import annotations

from lmchat.core.servers.events import ModelLoading, RequestSent
from lmchat.core.servers.model import LoadState
from tests.support.client_calls import answered, ask, endpoint_of
from tests.support.scripted_products import LLAMA, llama_cpp
from tests.support.scripted_server import json_reply

WAKING = ModelLoading(is_asleep=True)
HARMLESS = {
    *("/v1/models", "/props", "/health"),
    *("/lmstudio-greeting", "/openapi.json"),  # llama.cpp does not have these
}
"""Paths that wake nobody; all others of llama.cpp may."""


def doze(server, *, is_sleeping: bool):
    """Let a scripted llama.cpp tell whether its model is asleep."""
    props = {"is_sleeping": is_sleeping, "chat_template_caps": {"supports_tools": True}}
    return server.on("GET /props", json_reply(props, headers=LLAMA))


def request_to(server):
    return ask(server, product="llama.cpp", model="tiny.gguf")


async def test_a_look_finds_a_model_asleep_without_waking_it_and_its_answer_says_that_it_wakes(
    server, client
):
    for is_sleeping in (False, True, False, True):
        doze(llama_cpp(server), is_sleeping=is_sleeping)
        probed = await client.models.check(endpoint_of(server))
        (model,) = probed.models
        assert probed.word == "ready"
        assert model.state is (LoadState.ASLEEP if is_sleeping else LoadState.LOADED)
        assert model.capabilities == ("tools",), "what was known of it is kept"
    await client.models.listed(endpoint_of(server), is_refresh=True)
    assert await client.count_tokens(request_to(server)) is None
    assert {one.path for one in server.seen()} <= HARMLESS
    first = await answered(client, request_to(server))
    assert first[:2] == [RequestSent(), WAKING]
    second = await answered(client, request_to(server))
    assert not [event for event in second if isinstance(event, ModelLoading)]


async def test_a_load_wakes_a_model_that_is_asleep(server, client):
    def wake(_):
        doze(server, is_sleeping=False)
        return json_reply({"tokens": [1]}, headers=LLAMA)

    doze(llama_cpp(server), is_sleeping=True).on("POST /tokenize", wake)
    (model,) = (await client.models.check(endpoint_of(server))).models
    await client.models.load(model)
    (awake,) = await client.models.listed(endpoint_of(server), is_refresh=True)
    assert (model.state, awake.state) == (LoadState.ASLEEP, LoadState.LOADED)
    assert len(server.seen("POST /tokenize")) == 1
