"""Servers of the own network are treated as this machine: one request at a time, no retries."""

from __future__ import annotations

import httpx

from lmchat.base.errors import ServerRejected
from lmchat.core.config.settings import LimitSettings
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.network_errors import unavailable_error
from lmchat.core.servers.products import product_named
from lmchat.core.servers.sending.exchange import REFUSED_WAIT_S, retry_plan

NEAR = (
    "localhost:1",
    "127.0.0.1:1",
    "[::1]:1",
    "192.168.1.2:1",
    "[fe80::1]:1",
    "10.0.0.9:1",
    "workstation:1",
)
NEAR += ("box.lan:1", "mac.local:1", "nas.home.arpa:1", "ada.localhost:1")
FAR = ("api.example.com", "8.8.8.8:1", "[2606:4700::1]:1", "localhost.evil.com", "box.lan.example")


def test_a_machine_of_the_own_network_is_near_and_any_other_is_far():
    assert [address for address in NEAR if not Endpoint.parse(address).is_near] == []
    assert [address for address in FAR if Endpoint.parse(address).is_near] == []


def attempts_for(error, endpoint):
    limits = LimitSettings()
    product = product_named("llama.cpp")
    plan = retry_plan(error, endpoint, product, attempt=1, limits=limits)
    if plan is not None and endpoint.is_near and error.kind == "offline":
        assert plan.wait_s == REFUSED_WAIT_S
    last = plan and retry_plan(error, endpoint, product, attempt=plan.attempts, limits=limits)
    assert last is None
    return plan and plan.attempts


def test_a_failure_of_a_near_server_is_tried_again_only_where_it_may_pass_and_soon():
    far = Endpoint.parse(FAR[0])
    refusals = ((500, "server_error", None, 3), (409, "bad_request", None, None))
    refusals += ((503, "busy", 3, 3), (502, "upstream", 3, 3), (408, "timeout", None, None))
    refusals += ((504, "timeout", None, None), (413, "too_large", None, None))
    refusals += ((429, "rate_limited", 3, 3), (429, "billing", None, None))
    failures = (
        (httpx.ConnectError("refused"), 2, 3),
        (httpx.ConnectTimeout(""), None, 2),
        (httpx.ReadTimeout(""), None, None),
        (httpx.PoolTimeout(""), None, None),
        (httpx.ReadError(""), None, None),
    )
    for near in map(Endpoint.parse, (NEAR[3], NEAR[6])):
        for status, kind, *attempts in refusals:
            error = ServerRejected("no", kind=kind, status=status)
            assert [attempts_for(error, one) for one in (near, far)] == attempts
        for failure, *attempts in failures:
            found = [attempts_for(unavailable_error(failure, one), one) for one in (near, far)]
            assert found == attempts
