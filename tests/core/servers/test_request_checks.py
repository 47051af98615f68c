"""What a request has to pass before it is sent: its form, the allow list, its size, the limit."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from lmchat.base.errors import (
    EndpointNotAllowed,
    RequestInvalid,
    TooManyRequests,
)
from lmchat.core.config.settings import LimitSettings
from lmchat.core.servers.allow_list import AllowList
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.sending.request_checks import Limiter, check_request
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import Role, text_message
from tests.support.client_calls import ask, events_of, failure_of
from tests.support.scripted_products import plain

_REMOTE = Endpoint.parse("https://api.example.com")
_WORD = "xylophone"


async def test_the_first_check_that_refuses_names_the_kind_which_is_logged_without_words(
    server, make_client, caplog
):
    """A request that is wrong in several ways is refused for the first: form, host, size, limit."""
    caplog.set_level(logging.DEBUG, "lmchat")
    plain(server)
    client = make_client(limits=LimitSettings(requests_per_minute=1, max_body_mb=0.001))
    await events_of(client, ask(server))
    server.requests.clear()
    wrong = {"model": "\n", "server": _REMOTE, "text": _WORD * 1000}
    good = {"model": "tiny", "server": server, "text": _WORD}
    for number, (name, kind) in enumerate(
        (
            ("model", "bad_request"),
            ("server", "not_allowed"),
            ("text", "too_large"),
            ("", "rate_limited"),
        ),
        1,
    ):
        caplog.clear()
        error = await failure_of(client, ask(**wrong))
        assert error.kind == kind
        assert f"chat request refused: {kind}" in caplog.messages
        assert _WORD not in caplog.text
        assert client.counters.metrics.refused_requests == number
        if name:
            wrong[name] = good[name]
    assert (client.counters.metrics.total_requests, client.rate_limit().left) == (1, 0)
    assert server.requests == []


HERE = Endpoint.parse("localhost:1")


def test_each_wrong_part_is_named_in_the_fixed_words():
    for changes, words in (
        ({"target": Target(endpoint=HERE, product="Jan")}, "No Jan model selected"),
        (
            {"target": Target(endpoint=HERE, product="OpenAI-compatible")},
            "No LM Studio model selected",
        ),
        ({"target": ask(HERE, model="  ").target}, "Invalid model parameter"),
        ({"messages": ()}, "Invalid messages array"),
        ({"messages": (text_message(Role.USER, ""),)}, "Invalid message content"),
    ):
        with pytest.raises(RequestInvalid) as caught:
            check_request(replace(ask(HERE), **changes))
        assert caught.value.message.startswith(words)


def test_what_is_over_the_budget_is_refused_with_the_exact_words_and_the_seconds():
    limiter = Limiter(3)
    for left in (2, 1, 0):
        limiter.count_request("Ollama")
        assert (limiter.rate_limit().left, limiter.rate_limit().limit) == (left, 3)
    with pytest.raises(TooManyRequests) as caught:
        limiter.count_request("Ollama")
    assert caught.value.message.startswith(
        "Too many requests to Ollama, please try again later: the limit is 3 a minute"
    )
    assert 1 <= caught.value.wait_s <= 60
    assert f"{caught.value.wait_s} s" in caught.value.message


LOOKS_LIKE_LOOPBACK = (
    "localhost.evil.com 127.0.0.1.nip.io 127.0.0.1.evil.com:1234 evil.com/127.0.0.1 0.0.0.1 192.168.1.5"
    " 10.0.0.1 169.254.169.254/latest/meta-data 2130706433 127.1 0x7f000001 0x7f.1 0177.0.0.1 0"
    " [::2] [::ffff:8.8.8.8] [::ffff:10.0.0.1] \u24dbocalhost \uff11\uff12\uff17.0.0.1 lo\u0441alhost"
    " localhost\u3002evil.com localhost%00.evil.com localhost%2eevil.com localhostx xlocalhost 127.0.0.1x"
)


def test_what_only_looks_like_this_machine_is_refused():
    for address in LOOKS_LIKE_LOOPBACK.split():
        with pytest.raises(EndpointNotAllowed, match=r"^Endpoint not allowed"):
            AllowList().check(Endpoint.parse(f"http://{address}"))


def test_a_named_host_is_allowed_at_any_port_and_with_a_port_at_that_one_only():
    hosts = AllowList(["box.lan", "other.lan:8000", "2001:db8::1", "[2001:db8::2]:8000"])
    for address in (
        "http://box.lan",
        "https://BOX.lan:9999",
        "http://other.lan:8000",
        "http://[2001:db8:0::1]:7",
        "http://[2001:db8::2]:8000",
    ):
        hosts.check(Endpoint.parse(address))
    for address in (
        "http://other.lan:8001",
        "http://sub.box.lan",
        "http://box.lan.evil.com",
        "http://[2001:db8::2]:1",
    ):
        with pytest.raises(EndpointNotAllowed, match="be allowed by --allow-host"):
            hosts.check(Endpoint.parse(address))


def test_what_is_no_host_cannot_be_allowed():
    for host in ("", "*", "a b", "http://x", "user@host", "host:port", "a?b", "host/path"):
        with pytest.raises(EndpointNotAllowed, match="a host or host:port is needed") as caught:
            AllowList([host])
        where = "Correct it in allowed_hosts or --allow-host, for example: gpu.lan:8080"
        assert caught.value.next_step == where


def test_an_endpoint_made_by_hand_has_to_be_what_it_says():
    for endpoint in (
        Endpoint(scheme="http", host="localhost@evil.com", port=80),
        Endpoint(scheme="http", host="localhost", port=80, path="@evil.com/v1"),
        Endpoint(scheme="ftp", host="localhost", port=80),
        Endpoint(scheme="http", host="LOCALHOST", port=80),
    ):
        with pytest.raises(EndpointNotAllowed):
            AllowList(["evil.com"]).check(endpoint)
