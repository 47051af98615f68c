from __future__ import annotations

import pytest

from lmchat.errors import LMChatError
from lmchat.servers.endpoint import Endpoint
from tests.support.client_calls import ask
from tests.support.scripted_products import CHAT, jan_with_remote


async def test_a_model_that_has_become_remote_gets_no_prompt(server, make_client):
    jan_with_remote(server, "garden", remote=[])
    client = make_client()
    endpoint = Endpoint.parse(server.url)
    await client.models.check(endpoint)
    request = ask(server, product="Jan", model="garden")
    assert [event async for event in client.stream(request)]
    jan_with_remote(server, "garden", remote=["garden"])
    await client.models.check(endpoint)
    with pytest.raises(LMChatError, match="garden does not run on this machine any more"):
        _ = [event async for event in client.stream(request)]
    assert await client.count_tokens(request) is None
    with pytest.raises(LMChatError):
        _ = [event async for event in client.read_ahead(request)]
    assert len(server.seen(CHAT)) == 1
