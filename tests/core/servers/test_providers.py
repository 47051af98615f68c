from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid
from lmchat.core.servers.discovery.status import Next
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import StreamFinished, UsageReported
from lmchat.core.sessions.message import ToolCallPart
from tests.support.client_calls import answered, ask, failure_of, streamed
from tests.support.scripted_products import (
    MISTRAL,
    OPENROUTER,
    PROVIDERS,
    Provider,
)
from tests.support.scripted_server import (
    AUTHORITY,
    ScriptedServer,
    json_reply,
    lead_here,
)

KEY = "sk-marked-key-4711"
ROWS = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.product)


@pytest.fixture
def server():
    with ScriptedServer(certificate="hosts") as one:
        yield one


@pytest.fixture
def looked_up(monkeypatch):
    """Lead the hosts of all providers to this machine; return a list of the hosts that were asked."""
    monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)
    return lead_here(monkeypatch, *(one.host for one in PROVIDERS))


@pytest.fixture
def reach(server, make_client, looked_up):
    """Return the endpoint of a provider that is played here, and a client that may talk to it."""

    def start(provider: Provider, *, key: str | None = KEY):
        provider.script(server)
        endpoint = Endpoint.parse(provider.url(server.port))
        return endpoint, make_client(key=key, allowed_hosts=(provider.host,))

    return start


def chat(endpoint: Endpoint, provider: Provider, **more):
    return ask(endpoint, product=provider.product, model="some-model", **more)


FIELDS = {
    "OpenAI": {"max_completion_tokens": 9, "seed": 7, "reasoning_effort": "low"},
    "Mistral": {"max_tokens": 9, "random_seed": 7, "reasoning_effort": "low"},
    "Anthropic": {"max_tokens": 9},
    "Gemini": {"max_tokens": 9, "reasoning_effort": "low"},
    "OpenRouter": {"max_tokens": 9, "seed": 7, "reasoning": {"effort": "low"}},
}


@ROWS
async def test_a_provider_is_asked_and_heard_in_its_own_form_and_gets_the_key_in_one_header(
    server, reach, provider
):
    endpoint, client = reach(provider)
    for found in (
        await client.models.check(endpoint),
        *(await client.models.detect(named=(endpoint,)))[:1],
    ):
        assert (found.product, found.word) == (provider.product, "ready")
    assert {one.path for one in server.seen()} == {f"{provider.path}/models"}
    request = chat(endpoint, provider, max_tokens=9, seed=7, reasoning_effort="low")
    events = await answered(client, request)
    answer = streamed(events).content
    assert (answer.text("reasoning"), answer.text("text")) == (provider.thought, "Hello there.")
    calls = [part for part in answer.parts if isinstance(part, ToolCallPart)]
    assert tuple((one.name, one.arguments) for one in calls) == provider.calls
    assert any(isinstance(event, UsageReported) for event in events)
    assert isinstance(events[-1], StreamFinished)
    sent = server.seen()[-1].json
    assert ("stream_options" in sent) is (provider is not MISTRAL)
    common = {"model", "messages", "stream", "stream_options"}
    assert {name: sent[name] for name in sent.keys() - common} == FIELDS[provider.product]
    for one in server.seen():
        assert one.headers.pop("authorization") == f"Bearer {KEY}"
        assert KEY not in f"{one.headers} {one.path} {one.body}"
        assert one.headers["host"] == endpoint.netloc


@ROWS
async def test_a_provider_is_never_asked_in_plain_text(reach, looked_up, provider):
    endpoint, client = reach(provider)
    plain = replace(endpoint, scheme="http")
    error = await failure_of(client, chat(plain, provider))
    assert isinstance(error, RequestInvalid)
    assert error.kind == "insecure"
    assert error.next_step == f"Write https://{endpoint.host} in the address."
    found = next(one for one in await client.models.detect(named=(plain,)) if one.endpoint == plain)
    assert (found.next_step, found.action) == (error.next_step, Next.NOTHING)
    assert looked_up == []


async def test_no_provider_is_looked_for_unasked(make_client, looked_up):
    client = make_client(key=KEY, allowed_hosts=[provider.host for provider in PROVIDERS])
    found = await client.models.detect()
    assert {one.product for one in found} & {provider.product for provider in PROVIDERS} == set()
    assert looked_up == []


async def test_providers_tell_windows_and_abilities(server, reach):
    endpoint, client = reach(MISTRAL)
    can = {"completion_chat": True, "function_calling": True, "vision": False}
    data = [
        {"id": "small", "max_context_length": 131072, "capabilities": can},
        {"id": "embed", "capabilities": can | {"completion_chat": False}},
        {"id": "odd", "max_context_length": "many", "capabilities": []},
    ]
    server.on("GET /v1/models", json_reply({"data": data}))
    small, embed, odd = await client.models.listed(endpoint)
    assert (small.context_max, small.capabilities, small.images) == (131072, ("tools",), False)
    assert [one.can_chat for one in (small, embed, odd)] == [True, False, True]
    assert (odd.context_max, odd.capabilities, odd.images) == (None, (), None)

    endpoint, client = reach(OPENROUTER)
    both = {"input_modalities": ["text", "image"], "output_modalities": ["text"]}
    able = {"architecture": both, "supported_parameters": ["tools", "reasoning", 7]}
    data = [
        {"id": "a/chat", "context_length": 200000, **able},
        {"id": "b/embed", "architecture": {"output_modalities": ["embeddings"]}},
    ]
    server.on("GET /api/v1/models", json_reply({"data": data}))
    talker, embed = await client.models.listed(endpoint)
    assert (talker.context_max, talker.capabilities) == (200000, ("tools", "vision", "reasoning"))
    assert not embed.can_chat
