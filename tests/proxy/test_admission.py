from __future__ import annotations

import logging

import pytest

from lmchat.config.settings import LimitSettings
from lmchat.domain.server import Endpoint
from lmchat.errors import LMChatError
from tests.support.proxy_calls import ask, events_of
from tests.support.scripted_products import plain

_REMOTE = Endpoint.parse("https://api.example.com")
_STEPS = ("validate", "allow-list", "size", "limiter")
_WORD = "xylophone"


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.DEBUG, "lmchat.proxy.admission")

    def words(level):
        return [one.getMessage() for one in caplog.records if one.levelno == level]

    return words


async def test_a_chat_request_passes_all_steps_in_their_order(server, client, logged):
    plain(server)
    await events_of(client, ask(server, _WORD))
    assert logged(logging.DEBUG) == [f"chat request passed {step}" for step in _STEPS]
    assert client.metrics().refused_requests == 0


@pytest.mark.parametrize(
    ("wrong", "step", "kind"),
    [
        ({"model": ""}, "validate", "bad_request"),
        ({"model": [_WORD]}, "validate", "bad_request"),
        ({"server": _REMOTE}, "allow-list", "not_allowed"),
        ({"text": _WORD * 1000}, "size", "too_large"),
        ({}, "limiter", "rate_limited"),
    ],
)
async def test_a_refusal_is_logged_by_step_and_kind_and_counted(
    server, make_client, logged, wrong, step, kind
):
    plain(server)
    client = make_client(limits=LimitSettings(requests_per_minute=1, max_body_mb=0.001))
    if step == "limiter":
        await events_of(client, ask(server))
    sent = len(server.requests)
    _, error = await events_of(client, ask(**({"server": server, "text": _WORD} | wrong)))
    assert error.kind == kind
    assert logged(logging.INFO) == [f"chat request refused by {step}: {kind}"]
    assert logged(logging.DEBUG)[-1:] == (
        [f"chat request passed {_STEPS[_STEPS.index(step) - 1]}"] if _STEPS.index(step) else []
    )
    assert not any(
        _WORD in words for level in (logging.INFO, logging.DEBUG) for words in logged(level)
    )
    metrics = client.metrics()
    assert (metrics.refused_requests, metrics.total_requests) == (1, sent)
    assert client.budget().left == 1 - sent
    assert len(server.requests) == sent


async def test_a_look_that_is_refused_is_logged_and_is_no_chat_request(make_client, logged):
    client = make_client()
    for look in (client.check(_REMOTE), client.models(_REMOTE), client.try_key(_REMOTE, _WORD)):
        with pytest.raises(LMChatError):
            await look
    assert logged(logging.INFO) == ["probe request refused by allow-list: not_allowed"] * 3
    assert client.metrics().refused_requests == 0
