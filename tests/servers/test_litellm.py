"""LiteLLM's proxy: recognised whatever the key; as recorded from version 1.106.2."""

from __future__ import annotations

import pytest

from lmchat.servers.discovery.probe_result import Verdict
from lmchat.servers.endpoint import Endpoint
from tests.support.client_calls import PortMap
from tests.support.scripted_server import Seen, error_reply, json_reply, text_reply

KEY = "sk-master"
LIST = {
    "data": [{"id": "tiny", "object": "model", "created": 1677610602, "owned_by": "openai"}],
    "object": "list",
}


def guarded(reply):
    """Refuse as version 1.106.2 does: it fails without a key, and looks others up in no database."""

    def script(seen: Seen):
        key = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if not key:
            return text_reply("Internal Server Error", status=500)
        no_database = error_reply(400, "No connected db.", type="no_db_connection", code="400")
        return reply if key == KEY else no_database

    return script


@pytest.fixture
def litellm(server):
    server.on("GET /v1/models", guarded(json_reply(LIST)))
    return server.on("GET /health/liveliness", json_reply("I'm alive!"))


STATES = [(None, Verdict.SERVER_ERROR), ("sk-wrong", Verdict.KEY_REJECTED), (KEY, Verdict.READY)]


@pytest.mark.parametrize(("key", "verdict"), STATES)
async def test_it_is_recognised_whatever_the_key(litellm, make_client, key, verdict):
    client = make_client(key=key, transport=PortMap({("localhost", 4123): litellm}))
    for _ in range(2):
        probed = await client.check(Endpoint.parse("http://localhost:4123"))
        assert (probed.product, probed.verdict) == ("LiteLLM", verdict)
    assert "virtual key" in probed.next_step or verdict is not Verdict.KEY_REJECTED
