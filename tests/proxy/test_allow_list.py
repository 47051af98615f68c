from __future__ import annotations

import pytest

from lmchat.domain.server import Endpoint
from lmchat.errors import EndpointNotAllowed
from lmchat.proxy.admission import AllowList

LOOKS_LIKE_LOOPBACK = (
    "localhost.evil.com 127.0.0.1.nip.io 127.0.0.1.evil.com:1234 evil.com/127.0.0.1 0.0.0.1 192.168.1.5"
    " 10.0.0.1 169.254.169.254/latest/meta-data 2130706433 127.1 0x7f000001 0x7f.1 0177.0.0.1 0 0.0.0.0 [::]"
    " [::2] [::ffff:8.8.8.8] [::ffff:10.0.0.1] \u24dbocalhost \uff11\uff12\uff17.0.0.1 lo\u0441alhost"
    " localhost\u3002evil.com localhost%00.evil.com localhost%2eevil.com localhostx xlocalhost 127.0.0.1x"
)


@pytest.mark.parametrize("address", LOOKS_LIKE_LOOPBACK.split())
def test_what_only_looks_like_this_machine_is_refused(address):
    with pytest.raises(EndpointNotAllowed, match=r"^Endpoint not allowed"):
        AllowList().check(Endpoint.parse(f"http://{address}"))


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1234",
        "localhost:8080",
        "LOCALHOST",
        "http://localhost./v1",
        "http://[::1]:9/v1",
        "https://127.0.0.1",
        "http://127.8.9.1:1",
        "http://[::ffff:127.0.0.1]:1234",
    ],
)
def test_this_machine_is_allowed_at_any_port(address):
    AllowList().check(Endpoint.parse(address))


def test_a_named_host_is_allowed_at_any_port_and_with_a_port_at_that_one_only():
    hosts = AllowList(
        ["box.lan", "other.lan:8000", "192.168.1.5", "2001:db8::1", "[2001:db8::2]:8000"]
    )
    for address in (
        "http://box.lan",
        "https://BOX.lan:9999",
        "http://other.lan:8000",
        "http://192.168.1.5:1",
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


def test_a_wrong_host_is_told_with_the_places_to_correct_it():
    with pytest.raises(EndpointNotAllowed) as caught:
        AllowList(["host/path"])
    assert (
        caught.value.hint
        == "Correct it in allowed_hosts or --allow-host, for example: gpu.lan:8080"
    )


@pytest.mark.parametrize(
    "host",
    ["", "*", "a b", "http://x", "user@host", "host/path", "host:port", "a?b", "host:?", "host:#"],
)
def test_what_is_no_host_cannot_be_allowed(host):
    with pytest.raises(EndpointNotAllowed):
        AllowList([host])


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint(scheme="http", host="localhost@evil.com", port=80),
        Endpoint(scheme="http", host="localhost", port=80, path="@evil.com/v1"),
        Endpoint(scheme="ftp", host="localhost", port=80),
        Endpoint(scheme="http", host="LOCALHOST", port=80),
        Endpoint(scheme="http", host="", port=80),
    ],
)
def test_an_endpoint_made_by_hand_has_to_be_what_it_says(endpoint):
    with pytest.raises(EndpointNotAllowed):
        AllowList(["evil.com"]).check(endpoint)
