"""A model that does not run where its server runs gets a prompt only if it was one when it was chosen."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from msgspec.structs import replace

from lmchat.base.errors import LMChatError
from lmchat.core.servers import models
from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import RequestAdapted
from lmchat.core.servers.request import CHAT_PATH, ForwardedRequest
from lmchat.core.servers.target import Target
from tests.support.client_calls import answered, ask, endpoint_of, failure_of
from tests.support.scripted_products import (
    CHAT,
    echo,
    jan,
    jan_with_remote,
    llama_cpp,
    localai_with_remote,
    model_list,
    ollama_with_remote,
)
from tests.support.scripted_server import Hold, error_reply, raw_reply

NAME = "garden"
LIST = "GET /v1/models"
ROWS = {
    "Jan": ({"owned_by": "llama.cpp", "created": 1}, {"owned_by": "remote"}),
    "llama-swap": ({"owned_by": "llama-swap"}, {"meta": {"llamaswap": {"peerID": "gpu-box"}}}),
    "Lemonade": ({"owned_by": "lemonade", "recipe": "llamacpp"}, {"recipe": "cloud"}),
    "lmchat": ({"state": "loaded"}, {"state": "remote"}),
    "OpenAI-compatible": ({"owned_by": "someone"}, {"owned_by": "remote"}),
}
"""What a row says of a model that runs on the server, and what else of one that does not."""
SCRIPTS = {"Ollama": ollama_with_remote, "LocalAI": localai_with_remote}  # their own lists say it


def play(server, product, *, is_remote):
    """Let a scripted server list one model."""
    if script := SCRIPTS.get(product):
        return script(server, NAME, remote=[NAME] if is_remote else [])
    local, remote = ROWS[product]
    headers = {"Server": "lmchat"} if product == "lmchat" else {}
    listed = model_list(NAME, headers=headers, **local | (remote if is_remote else {}))
    return server.on(LIST, listed).on(CHAT, echo)


@pytest.fixture
def soon_old(monkeypatch):
    """Let each list be an older one, so that no test takes seconds."""
    monkeypatch.setattr(models, "RECENT_S", -1.0)


@pytest.mark.usefixtures("soon_old")
@pytest.mark.parametrize("product", [*SCRIPTS, *ROWS])
async def test_a_model_that_has_become_remote_gets_no_prompt_until_it_is_chosen_again(
    product, server, client
):
    play(server, product, is_remote=False)
    (local,) = (await client.models.check(endpoint_of(server))).models
    assert local.product == product
    request = replace(ask(server), target=Target.of(local))
    forwarded = ForwardedRequest(model=local, path=CHAT_PATH, body=b'{"model": "garden"}')
    await answered(client, request)

    def refuse(_):
        play(server, product, is_remote=True)
        return error_reply(503, "Busy.", headers={"Retry-After": "0"})

    server.on(CHAT, refuse)  # another attempt is not made
    error = await failure_of(client, request)
    assert error.message == (
        "The prompt was not sent: garden does not run on this machine any more."
    )
    with pytest.raises(LMChatError, match="garden does not run on this machine any more"):
        async with client.forward(forwarded, lambda *_: None):
            pass
    assert await client.count_tokens(request) is None
    with pytest.raises(LMChatError):
        _ = [event async for event in client.read_ahead(request)]
    assert len(server.seen(CHAT)) == 2

    (remote,) = (await client.models.check(endpoint_of(server))).models
    chosen = replace(request, target=Target.of(remote))
    note = RequestAdapted(note=remote.remote_note)
    assert [(await answered(client, chosen)).count(note) for _ in range(2)] == [1, 0]
    play(server, product, is_remote=False)
    for again in (chosen, request):
        await answered(client, again)


async def test_a_list_is_asked_for_again_only_if_it_is_older_and_its_product_may_tell(
    server, client, monkeypatch
):
    for script, older in ((jan, 1), (llama_cpp, 0)):
        script(server)
        (model,) = (await client.models.check(endpoint_of(server))).models
        for recent_s, count in ((60.0, 0), (-1.0, older)):
            monkeypatch.setattr(models, "RECENT_S", recent_s)
            looks = len(server.seen(LIST))
            await answered(client, replace(ask(server), target=Target.of(model)))
            assert len(server.seen(LIST)) == looks + count, (model.product, recent_s)


@pytest.fixture
def with_old_list(make_client, tmp_path):
    """Make a client with the list of an earlier run, in which a model of Jan is not remote."""

    async def make(endpoint, **settings):
        model = ask(endpoint, product="Jan", model=NAME).target.model
        lists = ModelLists(tmp_path / "models.json", clock=lambda: 0.0)
        lists.put(endpoint, (model,))
        await lists.write()
        client = make_client(cache_file=tmp_path / "models.json", **settings)
        await client.models.check(endpoint)  # it has no list yet
        return client, ask(endpoint, product="Jan", model=NAME)

    return make


async def test_a_list_that_cannot_be_had_holds_up_no_prompt(server, with_old_list, monkeypatch):
    jan_with_remote(server, NAME, remote=[NAME]).on(LIST, error_reply(502, "Bad gateway"))
    client, request = await with_old_list(endpoint_of(server))
    for _ in range(2):
        await answered(client, request)
    assert len(server.seen(LIST)) == 3
    monkeypatch.setattr(models, "HEALTH_S", 0.05)
    server.on(LIST, raw_reply(Hold()))
    await answered(client, request)
    assert len(server.seen(LIST)) == 4


async def test_prompts_that_are_sent_at_once_share_a_look(with_old_list):
    """Those to a near server wait for a slot, and go one by one."""
    asked = []

    def reply(request: httpx.Request) -> httpx.Response:
        async def body():
            yield b'{"data": [{"id": "garden", "owned_by": "remote", "created": 1}]}'

        asked.append(request.method)
        return httpx.Response(502 if len(asked) == 1 else 200, content=body())

    far = Endpoint.parse("https://jan.example/v1")
    transport = httpx.MockTransport(reply)
    client, request = await with_old_list(far, transport=transport, allowed_hosts=(far.host,))
    errors = await asyncio.gather(*[failure_of(client, request) for _ in range(8)])
    assert {error.kind for error in errors} == {"model_missing"}
    assert asked == ["GET"] * 2
