"""The proxy of the environment: who is reached through it, and what is said of it."""

from __future__ import annotations

import socket

import httpx
import pytest

from lmchat.base.errors import NothingAnswers
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.network_errors import unavailable_error
from lmchat.core.servers.http.proxies import proxy_for, proxy_name
from tests.support.scripted_products import model_list
from tests.support.scripted_server import json_reply, text_reply

BOX = "http://box.example.org:8000"
ADDRESS = "http://8.8.8.8:8000"
SIX = "http://[2600::1]:8000"
UNREADABLE = "localhost,fe80::/10,[::1,,],::::,%,*x*,/,\x7f,ü.x:y"


@pytest.fixture(autouse=True)
def proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_entries_of_no_proxy_exclude_what_they_name_and_no_more(monkeypatch, name):
    for url, entries in (
        (BOX, ("*", "box.example.org", "BOX.Example.ORG", "example.org", ".example.org", "org")),
        (BOX, ("box.example.org:8000", f"{UNREADABLE},example.org", "x, ,example.org,,")),
        (ADDRESS, ("*", "8.8.8.8", "8.8.8.8:8000", f"{UNREADABLE}, 8.8.8.8")),
        (SIX, ("[2600::1]", "[2600::1]:8000")),
    ):
        for entry in entries:
            monkeypatch.setenv(name, entry)
            assert not proxy_for(Endpoint.parse(url)), (url, entry)
    for url, entries in (
        (BOX, ("", UNREADABLE, "ox.example.org", "a.box.example.org", "example")),
        (BOX, ("box.example.org:80", "8.8.8.8", "::/0")),
        (ADDRESS, (UNREADABLE, "8.8.8.9", "8.8.8.8:80", "9.0.0.0/8")),
        (SIX, (UNREADABLE, "[2600::2]", "[2600::1]:80", "::1", "1")),
    ):
        for entry in entries:
            monkeypatch.setenv(name, entry)
            assert proxy_for(Endpoint.parse(url)) == "http://proxy:3128", (url, entry)


@pytest.mark.rule("R-8")
def test_the_variable_of_the_scheme_comes_before_that_of_all_and_none_is_for_near_servers(
    monkeypatch,
):
    # the third is an address within a network of Tailscale
    near = ("localhost:1234", "http://192.168.1.2:80", "http://100.101.102.103:80")
    near += ("http://box:80", "http://box.local:80")
    assert {proxy_for(Endpoint.parse(url)) for url in near} == {""}
    monkeypatch.setenv("ALL_PROXY", "proxy-of-all:1")
    assert proxy_for(Endpoint.parse(BOX)) == "http://proxy:3128"
    assert proxy_for(Endpoint.parse("https://box.example.org")) == "http://proxy-of-all:1"
    monkeypatch.setenv("http_proxy", "http://user:secret@small:1/path")
    assert proxy_name(Endpoint.parse(BOX)) == "small:1"
    monkeypatch.setenv("http_proxy", " ")
    assert not proxy_for(Endpoint.parse(BOX))


def test_a_failure_on_the_way_through_a_proxy_names_it_without_its_password(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy:3128/")
    unknown = httpx.ConnectError("")
    unknown.__cause__ = socket.gaierror(socket.EAI_NONAME, "x")
    for error, kind, words in (
        (httpx.ConnectError("all failed"), "offline", "Nothing answers at the proxy proxy:3128, "),
        (httpx.ConnectTimeout(""), "timeout", "Nothing answers at the proxy proxy:3128, "),
        (unknown, "offline", "The name of the proxy proxy:3128 is unknown."),
        (httpx.ProxyError("502 Bad"), "offline", "The proxy proxy:3128 of the environment does"),
    ):
        told = unavailable_error(error, Endpoint.parse(BOX))
        assert (told.kind, words in told.message_with_next_step) == (kind, True), told
        assert not isinstance(told, NothingAnswers)  # its next step is how to start the server
        assert "secret" not in told.message_with_next_step
    assert (
        "proxy" not in unavailable_error(unknown, Endpoint.parse("box.lan")).message_with_next_step
    )


async def test_a_proxy_that_is_off_is_named_in_place_of_the_server(monkeypatch, make_client):
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://user:secret@127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", UNREADABLE)
        client = make_client(allowed_hosts=["box.example.org"])
        status = await client.models.check(Endpoint.parse(f"{scheme}://box.example.org:8000"))
        assert status.detail.startswith("Nothing answers at the proxy 127.0.0.1:9, which")
        assert "NO_PROXY" in status.next_step
        assert "secret" not in repr(status)


async def test_a_server_is_asked_through_the_proxy(monkeypatch, make_client, server):
    seen = "GET http://box.example.org:8000/v1/models"
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", f"{UNREADABLE},other.example.org")
    client = make_client(allowed_hosts=["box.example.org"])
    for code, reply in (
        (503, text_reply("<html>ERROR", status=503)),
        (502, text_reply("", status=502)),
        (407, json_reply({"detail": "who are you?"}, status=407)),
    ):
        server.on(seen, reply)
        status = await client.models.check(Endpoint.parse(BOX))
        name = server.url.removeprefix("http://")
        words = f"The proxy {name} of the environment does not connect to box.example.org:8000: "
        assert status.detail.startswith(f"{words}{code}"), status
    assert server.seen(seen)
    server.on(seen, json_reply({"error": {"message": "Loading model", "code": 503}}, status=503))
    assert "proxy" not in (await client.models.check(Endpoint.parse(BOX))).detail
    server.on(seen, model_list("tiny"))
    assert (await client.models.check(Endpoint.parse(BOX))).models[0].model_id == "tiny"
