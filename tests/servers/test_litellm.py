"""LiteLLM's proxy: recognised without a key, and its refusals; as recorded from version 1.106.2."""

from __future__ import annotations

import pytest

from lmchat.servers.discovery.probe_result import Verdict
from lmchat.servers.endpoint import Endpoint
from tests.support.client_calls import PortMap
from tests.support.scripted_server import Seen, json_reply, text_reply

KEY = "sk-master"
CHAT = "POST /v1/chat/completions"
LIST = {
    "data": [{"id": "tiny", "object": "model", "created": 1677610602, "owned_by": "openai"}],
    "object": "list",
}
NO_DATABASE = {
    "error": {
        "message": "No connected db.",
        "type": "no_db_connection",
        "param": None,
        "code": "400",
    }
}
NO_MODEL = (
    "/chat/completions: Invalid model name passed in model=nope. "
    "Call `/v1/models` to view available models for your key."
)


def guarded(reply):
    """Refuse as version 1.106.2 does: it fails without a key, and looks others up in no database."""

    def script(seen: Seen):
        key = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if not key:
            return text_reply("Internal Server Error", status=500)
        return reply if key == KEY else json_reply(NO_DATABASE, status=400)

    return script


@pytest.fixture
def litellm(server):
    error = {"message": NO_MODEL, "type": "invalid_request_error", "param": None, "code": "400"}
    server.on("GET /v1/models", guarded(json_reply(LIST)))
    server.on("GET /health/liveliness", json_reply("I'm alive!"))
    return server.on(CHAT, guarded(json_reply({"error": error}, status=400)))


STATES = [(None, Verdict.SERVER_ERROR), ("sk-wrong", Verdict.KEY_REJECTED), (KEY, Verdict.READY)]


@pytest.mark.parametrize(("key", "verdict"), STATES)
async def test_it_is_recognised_whatever_the_key(litellm, make_client, key, verdict):
    client = make_client(key=key, transport=PortMap({("localhost", 4123): litellm}))
    for _ in range(2):
        probed = await client.check(Endpoint.parse("http://localhost:4123"))
        assert (probed.product, probed.verdict) == ("LiteLLM", verdict)
    assert "virtual key" in probed.next_step or verdict is not Verdict.KEY_REJECTED
