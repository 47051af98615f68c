from __future__ import annotations

import re

import pytest

from lmchat.cli.network_checks import proxy_finding
from lmchat.domain.finding import Grade
from lmchat.domain.server import Endpoint
from lmchat.proxy.network_errors import proxies_of, proxy_unavailable

REMOTE = ["models.example.org"]


def test_without_proxies_all_is_well():
    assert proxy_finding({"no_proxy": "x", "HTTP_PROXY": " "}, REMOTE).grade is Grade.OK


@pytest.mark.parametrize(
    "name", ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
)
def test_a_proxy_is_named_with_who_goes_through_it(name):
    found = proxy_finding({name: "http://proxy:3128"}, REMOTE)
    assert found.grade is Grade.OK
    assert f"{name}=http://proxy:3128: used for models.example.org" in found.cause
    assert "servers on this machine are reached directly" in found.cause
    assert "not used for a server" in proxy_finding({name: "http://proxy:3128"}, []).cause


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
    assert not {"secret", "user", "12", "ada"} & set(
        re.findall(r"\w+", f"{error.message} {error.hint}")
    )


def test_a_proxy_on_ipv6_is_told_as_it_is_written():
    found = proxy_finding({"http_proxy": "http://u:secret@[::1]:3128"}, [])
    assert "http_proxy=http://[::1]:3128" in found.cause


@pytest.mark.parametrize(
    "value", ["socks5://proxy:1080", "ftp://proxy:1", "http://", "http://proxy:port"]
)
def test_a_proxy_that_cannot_be_used_is_a_fault_where_it_is_needed(value):
    found = proxy_finding({"ALL_PROXY": value}, REMOTE)
    assert found.grade is Grade.FAULT
    assert "models.example.org" in found.cause
    assert found.next_step.startswith("unset ALL_PROXY")
    assert proxy_finding({"ALL_PROXY": value}, []).grade is Grade.WARNING


def test_of_two_forms_of_a_name_one_counts():
    assert proxies_of({"HTTP_PROXY": "a", "http_proxy": "b", "ALL_PROXY": "c"}) == {
        "http_proxy": "b",
        "ALL_PROXY": "c",
    }
