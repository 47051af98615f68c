from __future__ import annotations

import pytest

from lmchat.domain.event import (
    ReasoningDelta,
    RetryScheduled,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from lmchat.domain.server import Endpoint, Product, Verdict
from lmchat.errors import ServerRejected
from tests.support.proxy_calls import ask, events_of
from tests.support.scripted_products import PROVIDERS, Provider
from tests.support.scripted_server import AUTHORITY, ScriptedServer, lead_here, raw_reply

KEY = "sk-marked-key-4711"
ROWS = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.product.value)


@pytest.fixture
def server():
    with ScriptedServer(certificate="hosts") as one:
        yield one


@pytest.fixture
def reach(server, make_client, monkeypatch):
    """Return the endpoint of a provider that is played here, and a client that may talk to it."""
    monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    lead_here(monkeypatch, *(one.host for one in PROVIDERS))

    def begin(provider: Provider, **more):
        provider.script(server)
        endpoint = Endpoint.parse(provider.url(server.port))
        return endpoint, make_client(key=KEY, **{"allowed_hosts": (provider.host,)} | more)

    return begin


def chat(endpoint: Endpoint, provider: Provider, **more):
    return ask(endpoint, product=provider.product, model="some-model", **more)


@ROWS
async def test_a_provider_is_known_and_heard_out_in_its_own_form(server, reach, provider):
    endpoint, client = reach(provider)
    found = await client.check(endpoint)
    assert (found.product, found.verdict) == (provider.product, Verdict.READY)
    events, error = await events_of(client, chat(endpoint, provider))
    assert error is None

    def joined(kind):
        return "".join(event.text for event in events if isinstance(event, kind))

    assert (joined(ReasoningDelta), joined(TextDelta)) == (provider.thought, "Hello there.")
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            name, arguments = calls.setdefault(event.index, ["", ""])
            calls[event.index] = [name or event.name, arguments + event.arguments]
    assert tuple(tuple(call) for call in calls.values()) == provider.calls
    assert any(isinstance(event, UsageReported) for event in events)
    assert isinstance(events[-1], StreamFinished)


@pytest.mark.rule("R-10")
@ROWS
async def test_the_key_goes_to_the_provider_alone_and_in_one_header(server, reach, provider):
    endpoint, client = reach(provider)
    await client.check(endpoint)
    await events_of(client, chat(endpoint, provider))
    with_key = [one.headers["authorization"] for one in server.requests]
    assert with_key == [f"Bearer {KEY}"] * len(server.requests) != []
    rest = [
        str({**one.headers, "authorization": ""}) + one.path + one.body.decode() for one in server.requests
    ]
    assert KEY not in "".join(rest)
    assert {one.headers["host"] for one in server.requests} == {endpoint.netloc}


@pytest.mark.rule("R-9")
@ROWS
async def test_a_redirect_of_a_provider_is_refused_and_the_key_stays_here(server, reach, provider):
    endpoint, client = reach(provider)
    with ScriptedServer(certificate="hosts") as other:
        location = {"Location": f"{other.url}/v1/chat/completions", "Content-Length": "0"}
        head = "".join(f"{name}: {value}\r\n" for name, value in location.items())
        provider.refuse(server, raw_reply(f"HTTP/1.1 307 Elsewhere\r\n{head}\r\n".encode()))
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
async def test_each_refusal_of_a_provider_has_its_kind_and_a_step(server, reach, provider, kind, reply):
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
