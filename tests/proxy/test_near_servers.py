"""Servers of the own network are treated as this machine: one request at a time, no retries."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise

import httpx
import pytest

from lmchat.domain.event import RequestQueued, RequestSent
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint
from lmchat.errors import ServerRejected
from lmchat.proxy.network_errors import unavailable
from lmchat.proxy.retries import REFUSED_WAIT_S, RetryPlan, plan_for
from tests.support.proxy_calls import ask, text_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import DONE, Gate, finish, sse

NEAR = (
    "localhost:1",
    "127.0.0.1:1",
    "[::1]:1",
    "192.168.1.2:1",
    "[fe80::1]:1",
    "10.0.0.9:1",
    "workstation:1",
)
NEAR += ("box.lan:1", "mac.local:1", "nas.home.arpa:1")
FAR = ("api.example.com", "8.8.8.8:1", "[2606:4700::1]:1", "localhost.evil.com", "box.lan.example")


def test_a_machine_of_the_own_network_is_near_and_any_other_is_far():
    assert [address for address in NEAR if not Endpoint.parse(address).is_near] == []
    assert [address for address in FAR if Endpoint.parse(address).is_near] == []


def test_a_failure_of_a_near_server_is_tried_again_only_where_it_may_pass_and_soon():
    far = Endpoint.parse(FAR[0])
    refusals = (
        (500, "server_error", None, RetryPlan()),
        (409, "bad_request", None, RetryPlan()),
        (503, "busy", RetryPlan(), RetryPlan()),
    )
    failures = (
        (httpx.ConnectError("refused"), RetryPlan(attempts=2, wait_s=REFUSED_WAIT_S), RetryPlan()),
        (httpx.ConnectTimeout(""), None, RetryPlan(attempts=2)),
        (httpx.ReadTimeout(""), None, None),
        (httpx.PoolTimeout(""), None, None),
        (httpx.ReadError(""), None, None),
    )
    for near in map(Endpoint.parse, (NEAR[3], NEAR[6])):
        for status, kind, *plans in refusals:
            error = ServerRejected("no", kind=kind, status=status)
            assert [plan_for(error, one, Product.LLAMA_CPP) for one in (near, far)] == plans
        for failure, *plans in failures:
            found = [
                plan_for(unavailable(failure, one), one, Product.LLAMA_CPP) for one in (near, far)
            ]
            assert found == plans


def test_this_machine_is_one_server_by_whatever_name():
    names = [
        Endpoint.parse(one) for one in ("localhost:1", "127.0.0.1:1", "http://[::1]:1/other/v1")
    ]
    assert all(one.canonical == other.canonical for one, other in pairwise(names))
    assert Endpoint.parse("localhost:2").canonical != names[0].canonical
    assert Endpoint.parse("10.0.0.9:1").canonical != names[0].canonical


@pytest.mark.rule("R-25")
async def test_a_server_that_is_called_by_two_names_answers_one_request_at_a_time(server, client):
    gate = Gate()
    server.on(CHAT, sse("one", gate, finish(), DONE), chat_reply("two"))
    other = ask(Endpoint.parse(f"http://localhost:{server.port}"))
    async with (
        aclosing(client.stream(ask(server))) as first,
        aclosing(client.stream(other)) as second,
    ):
        assert isinstance(await anext(first), RequestSent)
        await asyncio.to_thread(server.wait_for, CHAT)
        assert isinstance(await anext(second), RequestQueued)
        assert len(server.seen(CHAT)) == 1
        gate.open()
        assert text_of([one async for one in first]) == "one"
        assert text_of([one async for one in second]) == "two"
