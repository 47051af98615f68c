from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.event import RetryScheduled, StreamFinished, UsageReported
from lmchat.domain.message import ToolCallPart
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, Verdict
from lmchat.errors import RequestInvalid, ServerRejected
from lmchat.proxy.servers import SERVERS
from tests.support.proxy_calls import ask, events_of, growing
from tests.support.scripted_products import (
    ANTHROPIC,
    GEMINI,
    MISTRAL,
    OPENAI,
    OPENROUTER,
    PROVIDERS,
    Provider,
)
from tests.support.scripted_server import (
    AUTHORITY,
    ScriptedServer,
    json_reply,
    lead_here,
    text_reply,
)

KEY = "sk-marked-key-4711"
ROWS = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.product.value)


@pytest.fixture
def server():
    with ScriptedServer(certificate="hosts") as one:
        yield one


@pytest.fixture
def looked_up(monkeypatch):
    """Lead the hosts of all providers to this machine; return a list of the hosts that were asked."""
    monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return lead_here(monkeypatch, *(one.host for one in PROVIDERS))


@pytest.fixture
def reach(server, make_client, looked_up):
    """Return the endpoint of a provider that is played here, and a client that may talk to it."""

    def begin(provider: Provider, *, key: str | None = KEY):
        provider.script(server)
        endpoint = Endpoint.parse(provider.url(server.port))
        return endpoint, make_client(key=key, allowed_hosts=(provider.host,))

    return begin


def chat(endpoint: Endpoint, provider: Provider, **more):
    return ask(endpoint, product=provider.product, model="some-model", **more)


@pytest.mark.rule("R-10")
@ROWS
async def test_a_provider_is_heard_out_in_its_own_form_and_gets_the_key_in_one_header(
    server, reach, provider
):
    endpoint, client = reach(provider)
    found = await client.check(endpoint)
    assert (found.product, found.verdict) == (provider.product, Verdict.READY)
    events, error = await events_of(client, chat(endpoint, provider))
    assert error is None
    answer = growing(events)
    assert (answer.text("reasoning"), answer.text("text")) == (provider.thought, "Hello there.")
    calls = [part for part in answer.parts if isinstance(part, ToolCallPart)]
    assert tuple((one.name, one.arguments) for one in calls) == provider.calls
    assert server.seen()[-1].json.keys() <= {"model", "messages", "stream", "stream_options"}
    assert any(isinstance(event, UsageReported) for event in events)
    assert isinstance(events[-1], StreamFinished)
    with_key = [one.headers["authorization"] for one in server.requests]
    assert with_key == [f"Bearer {KEY}"] * len(server.requests) != []
    rest = [
        str({**one.headers, "authorization": ""}) + one.path + one.body.decode()
        for one in server.requests
    ]
    assert KEY not in "".join(rest)
    assert {one.headers["host"] for one in server.requests} == {endpoint.netloc}


@pytest.mark.rule("R-9")
@ROWS
async def test_a_redirect_of_a_provider_is_refused_and_the_key_stays_here(server, reach, provider):
    endpoint, client = reach(provider)
    with ScriptedServer(certificate="hosts") as other:
        location = {"Location": f"{other.url}/v1/chat/completions"}
        provider.refuse(server, text_reply("", status=307, headers=location))
        _, error = await events_of(client, chat(endpoint, provider))
        assert error.kind == "not_allowed"
        assert "redirects to another host" in error.message
        assert other.connections == 0


REFUSALS = [
    pytest.param(provider, kind, reply, id=f"{provider.product.value}: {kind}")
    for provider in PROVIDERS
    for kind, reply in provider.refusals.items()
]


@pytest.mark.rule("R-24")
@pytest.mark.parametrize(("provider", "kind", "reply"), REFUSALS)
async def test_each_refusal_of_a_provider_has_its_kind_and_a_step(
    server, reach, provider, kind, reply
):
    endpoint, client = reach(provider)
    provider.refuse(server, reply)
    events, error = await events_of(client, chat(endpoint, provider))
    assert isinstance(error, ServerRejected)
    assert (error.kind, bool(error.hint)) == (kind, True)
    assert KEY not in repr(vars(error)) + str(error) + repr(events)
    passes = kind in ("busy", "upstream", "timeout") or (
        kind == "rate_limited" and provider.product is Product.MISTRAL
    )
    posts = [one for one in server.requests if one.method == "POST"]
    assert len(posts) == (3 if passes else 1)
    assert len([one for one in events if isinstance(one, RetryScheduled)]) == len(posts) - 1


def test_a_provider_is_told_by_its_host_alone():
    hosts = [host for server in SERVERS for host in server.hosts]
    assert sorted(hosts) == sorted(provider.host for provider in PROVIDERS)


@ROWS
async def test_a_provider_is_asked_for_its_models_and_nothing_else(server, reach, provider):
    endpoint, client = reach(provider)
    for _ in range(2):
        found = await client.check(endpoint)
        assert (found.product, found.verdict) == (provider.product, Verdict.READY)
    await client.models(endpoint, is_refresh=True)
    (found, *_) = await client.detect(expected=(endpoint,))
    assert (found.product, found.verdict) == (provider.product, Verdict.READY)
    assert {one.path for one in server.seen()} == {f"{provider.path}/models"}


@ROWS
async def test_a_provider_is_never_asked_in_plain_text(reach, looked_up, provider):
    endpoint, client = reach(provider)
    plain = replace(endpoint, scheme="http")
    _, error = await events_of(client, chat(plain, provider))
    assert isinstance(error, RequestInvalid)
    assert error.kind == "insecure"
    assert error.hint == f"Write https://{endpoint.host} in the address."
    found = next(one for one in await client.detect(expected=(plain,)) if one.endpoint == plain)
    assert (found.next_step, found.can_be_allowed) == (error.hint, False)
    assert looked_up == []


async def test_no_provider_is_looked_for_unasked(make_client, looked_up):
    client = make_client(key=KEY, allowed_hosts=[provider.host for provider in PROVIDERS])
    found = await client.detect()
    assert {one.product for one in found} & {provider.product for provider in PROVIDERS} == set()
    assert looked_up == []


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        (OPENAI, {"max_completion_tokens": 9, "seed": 7, "reasoning_effort": "low"}),
        (MISTRAL, {"max_tokens": 9, "random_seed": 7, "reasoning_effort": "low"}),
        (ANTHROPIC, {"max_tokens": 9}),
        (GEMINI, {"max_tokens": 9, "reasoning_effort": "low"}),
        (OPENROUTER, {"max_tokens": 9, "seed": 7, "reasoning": {"effort": "low"}}),
    ],
)
async def test_each_provider_gets_the_fields_that_it_knows(server, reach, provider, fields):
    endpoint, client = reach(provider)
    request = chat(endpoint, provider, max_tokens=9, seed=7, reasoning_effort="low")
    _, error = await events_of(client, request)
    sent = server.seen()[-1].json
    common = {"model", "messages", "stream", "stream_options"}
    assert (error, {name: value for name, value in sent.items() if name not in common}) == (
        None,
        fields,
    )
    assert ("stream_options" in sent) is (provider is not MISTRAL)


@ROWS
@pytest.mark.parametrize("key", [None, "sk-wrong"])
async def test_a_refused_key_is_told_with_where_to_make_one(server, reach, provider, key):
    endpoint, client = reach(provider, key=key)
    words = (
        "Missing or invalid Authorization header."
        if key is None
        else "API key not valid. Please pass one."
    )
    status = 400 if provider is GEMINI else 401
    refuse = json_reply([{"error": {"code": status, "message": words}}], status=status)
    server.on(f"GET {provider.path}/models", refuse)
    found = await client.check(endpoint)
    assert found.verdict is (Verdict.NEEDS_KEY if key is None else Verdict.KEY_REJECTED)
    assert found.next_step.startswith("Create an API key at ")


async def test_mistral_tells_windows_and_abilities(server, reach):
    endpoint, client = reach(MISTRAL)
    can = {"completion_chat": True, "function_calling": True, "vision": False}
    data = [
        {"id": "small", "max_context_length": 131072, "capabilities": can},
        {
            "id": "embed",
            "max_context_length": 8192,
            "capabilities": can | {"completion_chat": False},
        },
        {"id": "odd", "max_context_length": "many", "capabilities": []},
    ]
    server.on("GET /v1/models", json_reply({"object": "list", "data": data}))
    small, embed, odd = (await client.models(endpoint)).models
    assert (small.context_max, small.capabilities, small.is_embedding) == (
        131072,
        ("tools",),
        False,
    )
    assert embed.is_embedding
    assert (odd.context_max, odd.capabilities, odd.is_embedding) == (None, (), False)
    assert (small.is_blind, odd.is_blind) == (True, False)


async def test_openrouter_tells_windows_and_abilities(server, reach):
    endpoint, client = reach(OPENROUTER)
    both = {"input_modalities": ["text", "image"], "output_modalities": ["text"]}
    data = [
        {
            "id": "a/chat",
            "context_length": 200000,
            "architecture": both,
            "supported_parameters": ["tools", "reasoning", 7],
        },
        {
            "id": "b/embed",
            "context_length": None,
            "architecture": {"output_modalities": ["embeddings"]},
        },
        {"id": "c/odd", "architecture": "text", "supported_parameters": {"tools": 1}},
    ]
    server.on("GET /api/v1/models", json_reply({"data": data}))
    chat, embed, odd = (await client.models(endpoint)).models
    assert (chat.context_max, chat.capabilities) == (200000, ("tools", "vision", "reasoning"))
    assert (embed.is_embedding, embed.context_max) == (True, None)
    assert (odd.is_embedding, odd.capabilities) == (False, ())
