"""Servers of the own network are treated as this machine: one request at a time, no retries."""

from __future__ import annotations

import httpx

from lmchat.errors import ServerRejected
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.network_errors import unavailable
from lmchat.servers.retries import REFUSED_WAIT_S, RetryPlan, plan_for

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
            assert [plan_for(error, one, "llama.cpp") for one in (near, far)] == plans
        for failure, *plans in failures:
            found = [plan_for(unavailable(failure, one), one, "llama.cpp") for one in (near, far)]
            assert found == plans
