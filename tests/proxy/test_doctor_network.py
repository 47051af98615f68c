from __future__ import annotations

import re
import socket

import pytest

from lmchat.domain.candidate import Grade
from lmchat.domain.server import Endpoint
from lmchat.proxy.checks import Loopback, has_ipv6, loopback_findings, proxy_finding, see_loopback
from lmchat.proxy.errors import proxies_of, proxy_unavailable
from tests.support.start_desk import listener

HERE = "127.0.0.1,localhost,::1"


async def seen_at(*servers: socket.socket) -> Loopback:
    return await see_loopback([server.getsockname()[1] for server in servers])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_listener_is_seen_on_its_own_family_alone(host):
    with listener(host) as server:
        seen = await seen_at(server)
        assert seen.answering == {server.getsockname()[1]: (host,)}


async def test_a_port_where_nobody_listens_is_left_out():
    with listener("127.0.0.1") as server:
        port = server.getsockname()[1]
    seen = await see_loopback([port])
    assert seen.answering == {}
    rows = loopback_findings(seen, {})
    assert rows[1].grade is Grade.ABSENT


async def test_a_server_that_takes_connections_and_says_nothing_does_not_hold_it_up():
    with listener("127.0.0.1") as server:
        assert await seen_at(server)


async def test_who_answers_on_ipv6_only_is_told_with_the_address_to_name():
    with listener("::1") as server:
        port = server.getsockname()[1]
        _, families = loopback_findings(await seen_at(server), {port: "Jan"})
    assert families.grade is Grade.WARNING
    assert f"port {port} (Jan) answers on ::1 only" in families.cause
    assert f"http://[::1]:{port}" in families.next_step


def test_where_localhost_misses_the_server_other_programs_are_misled():
    seen = Loopback(has_ipv6=True, localhost=("::1",), answering={1234: ("127.0.0.1",)})
    name, _ = loopback_findings(seen, {1234: "LM Studio"})
    assert name.grade is Grade.WARNING
    assert "port 1234 (LM Studio)" in name.cause
    assert "http://127.0.0.1:1234" in name.next_step


@pytest.mark.parametrize("answering", [{}, {1234: ("127.0.0.1",)}, {1234: ("127.0.0.1", "::1")}])
def test_where_localhost_leads_to_both_all_is_well(answering):
    seen = Loopback(has_ipv6=True, localhost=("::1", "127.0.0.1"), answering=answering)
    assert {row.grade for row in loopback_findings(seen, {})} <= {Grade.OK, Grade.ABSENT}


def test_a_name_that_leads_nowhere_is_told():
    name, _ = loopback_findings(Loopback(has_ipv6=False, localhost=(), answering={}), {})
    assert name.grade is Grade.WARNING
    assert "/etc/hosts" in name.next_step


async def test_this_machine_knows_its_own_name():
    seen = await see_loopback([])
    assert set(seen.localhost) <= {"127.0.0.1", "::1"}
    assert seen.has_ipv6 is has_ipv6()


REMOTE = [Endpoint.parse("https://models.example.org")]


def test_without_proxies_all_is_well():
    assert proxy_finding({"no_proxy": "x", "HTTP_PROXY": " "}, REMOTE).grade is Grade.OK


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_without_exceptions_misleads_others(name):
    found = proxy_finding({name: "http://proxy:3128"}, [])
    assert found.grade is Grade.WARNING
    assert f"{name}=http://proxy:3128" in found.cause
    assert "lmchat asks servers of this machine directly" in found.cause
    assert found.next_step.startswith("export NO_PROXY=")


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(
    "value", [HERE, "*", " localhost , 127.0.0.1,[::1]", "LOCALHOST,127.0.0.1:1234,::1,.example.org"]
)
def test_a_proxy_that_is_not_used_here_is_no_harm(name, value):
    assert proxy_finding({"HTTP_PROXY": "http://proxy:3128", name: value}, []).grade is Grade.OK


def test_an_exception_that_is_missing_is_named_alone():
    found = proxy_finding({"http_proxy": "proxy:3128", "no_proxy": "localhost,::1"}, [])
    assert "for 127.0.0.1, and fail" in found.cause


@pytest.mark.parametrize(
    "value",
    [
        "http://ada:secret@proxy:3128",
        "ada:secret@proxy:3128",
        "http://secret@[bad",
        "socks5://u:secret@proxy:1",
        "http://user:12#secret@host:3128",
        "http://user:12/secret@host:3128",
        "http://user:12?secret@host:3128",
        "http://user:a@secret#b@host:3128",
    ],
)
def test_the_password_of_a_proxy_is_told_nowhere(value, monkeypatch):
    found = proxy_finding({"http_proxy": value}, REMOTE)
    assert "secret" not in repr(found)
    monkeypatch.setenv("http_proxy", value)
    error = proxy_unavailable(Endpoint.parse("http://gpu-box:8000"), "")
    assert "proxy" in error.message
    assert not {"secret", "user", "12", "ada"} & set(re.findall(r"\w+", f"{error.message} {error.hint}"))


def test_a_proxy_on_ipv6_is_told_as_it_is_written():
    found = proxy_finding({"http_proxy": "http://u:secret@[::1]:3128"}, [])
    assert "http_proxy=http://[::1]:3128" in found.cause


@pytest.mark.parametrize("value", ["socks5://proxy:1080", "ftp://proxy:1", "http://", "http://proxy:port"])
def test_a_proxy_that_cannot_be_used_is_a_fault_where_it_is_needed(value):
    found = proxy_finding({"ALL_PROXY": value}, REMOTE)
    assert found.grade is Grade.FAULT
    assert "models.example.org" in found.cause
    assert found.next_step.startswith("unset ALL_PROXY")
    assert proxy_finding({"ALL_PROXY": value}, []).grade is Grade.WARNING


def test_servers_elsewhere_go_through_it_and_that_is_told():
    found = proxy_finding({"https_proxy": "http://proxy:3128", "no_proxy": HERE}, REMOTE)
    assert "models.example.org go through it" in found.cause


def test_of_two_forms_of_a_name_one_counts():
    assert proxies_of({"HTTP_PROXY": "a", "http_proxy": "b", "ALL_PROXY": "c"}) == {
        "http_proxy": "b",
        "ALL_PROXY": "c",
    }
