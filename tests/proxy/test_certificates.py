from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import asynccontextmanager, contextmanager

import pytest

from lmchat.domain.server import Endpoint, Verdict
from lmchat.errors import ServerUnavailable
from lmchat.proxy.certificates import MAX_BYTES, new_tls_context
from lmchat.proxy.connections import Connections
from tests.support.proxy_calls import ask, endpoint_of, events_of
from tests.support.scripted_products import plain
from tests.support.scripted_server import ALONE, AUTHORITY, ScriptedServer, json_reply, lead_here


@pytest.fixture(autouse=True)
def as_delivered(monkeypatch):
    """Take no certificates or proxies of this machine's environment."""
    for name in (
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def server_with_certificate(certificate: str):
    with ScriptedServer(certificate=certificate) as server:
        yield plain(server, "tiny")


@pytest.mark.parametrize(
    ("certificate", "host", "ca_file"),
    [
        ("hosts", "localhost", AUTHORITY),
        ("hosts", "127.0.0.1", AUTHORITY),
        ("alone", "localhost", ALONE),
    ],
)
@pytest.mark.parametrize("is_variable", [False, True])
async def test_a_server_of_ones_own_is_reached_once_its_certificate_is_named(
    make_client, monkeypatch, certificate, host, ca_file, is_variable
):
    if is_variable:
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    client = make_client(key="sk-1", ca_file="" if is_variable else ca_file)
    with server_with_certificate(certificate) as server:
        endpoint = Endpoint.parse(f"https://{host}:{server.port}")
        assert (await client.check(endpoint)).verdict is Verdict.READY
        _, error = await events_of(client, ask(endpoint))
        assert error is None
        assert server.requests[-1].headers["authorization"] == "Bearer sk-1"


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("hosts", "unable to get local issuer certificate"),
        ("alone", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("elsewhere", "Hostname mismatch, certificate is not valid for 'localhost'"),
    ],
)
async def test_a_certificate_that_is_not_believed_gets_one_sentence_and_no_byte(
    make_client, certificate, words
):
    client = make_client(ca_file=AUTHORITY if certificate in ("expired", "elsewhere") else "")
    with server_with_certificate(certificate) as server:
        endpoint = Endpoint.parse(f"https://localhost:{server.port}")
        found = await client.check(endpoint)
        events, error = await events_of(client, ask(endpoint, "marked words"))
        assert isinstance(error, ServerUnavailable)
        place = f"localhost:{server.port}"
        told = f"The certificate of {place} is not trusted: {words}. Nothing was sent."
        assert (error.kind, error.message) == ("certificate", told)
        assert "set ca_file in config.toml or SSL_CERT_FILE" in error.hint
        assert (found.verdict, found.detail, found.next_step) == (
            Verdict.SERVER_ERROR,
            told,
            error.hint,
        )
        assert [type(event).__name__ for event in events] == ["RequestSent"], (
            "it is not tried again"
        )
        assert (server.connections, server.requests) == (0, [])


async def test_a_certificate_refused_behind_a_proxy_is_not_blamed_on_the_proxy(
    make_client, monkeypatch
):
    monkeypatch.setenv("NO_PROXY", "")
    lead_here(monkeypatch, "models.example")
    with server_with_certificate("hosts") as server:
        async with tunnel_to(server.port) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
            client = make_client(allowed_hosts=("models.example",))
            _, error = await events_of(client, ask(Endpoint.parse("https://models.example")))
            assert isinstance(error, ServerUnavailable)
            assert error.kind == "certificate"
            assert server.requests == []


@asynccontextmanager
async def listening(play):
    async with await asyncio.start_server(play, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def tunnel_to(port: int):
    """Play a proxy that connects whoever asks to one port of this machine."""

    async def pump(source, target):
        while data := await source.read(65536):
            target.write(data)
        target.close()

    async def play(near, back):
        await near.readuntil(b"\r\n\r\n")
        far, there = await asyncio.open_connection("127.0.0.1", port)
        back.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pump(near, there), pump(far, back), return_exceptions=True)

    return listening(play)


async def test_https_to_a_server_that_speaks_http_says_so(make_client):
    async def refuse(near, back):
        await near.read(4096)
        back.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        back.close()

    async with listening(refuse) as port:
        endpoint = Endpoint.parse(f"https://127.0.0.1:{port}")
        client = make_client()
        found = await client.check(endpoint)
        _, error = await events_of(client, ask(endpoint))
    assert "does not use https" in found.detail
    assert isinstance(error, ServerUnavailable)
    assert "should begin with http://" in error.hint


async def test_http_to_a_server_that_speaks_https_gets_the_hint(make_client, server):
    client = make_client()
    with server_with_certificate("hosts") as closing:
        endpoint = Endpoint.parse(f"http://127.0.0.1:{closing.port}")
        assert "https://" in (await client.check(endpoint)).next_step
    told = "Client sent an HTTP request to an HTTPS server."
    server.unknown = json_reply({"error": told}, status=400)
    _, error = await events_of(client, ask(endpoint_of(server)))
    assert error is not None
    assert (error.kind, error.hint) == ("wrong_path", "Write https:// in front of its address.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "it contains no certificates"),
        (
            b"-----BEGIN CERTIFICATE-----\n\xff\xff!\n-----END CERTIFICATE-----",
            "it contains no certificates",
        ),
        (b"x" * (MAX_BYTES + 1), "File too large"),
        ("a pipe", "it is not a regular file"),
    ],
)
async def test_a_file_of_certificates_that_is_none_is_named_and_http_goes_on(
    make_client, server, tmp_path, content, reason
):
    file = tmp_path / "company.pem"
    if content == "a pipe":
        os.mkfifo(file)
    elif content is not None:
        file.write_bytes(content)
    client = make_client(ca_file=str(file))
    with server_with_certificate("hosts") as secure:
        found = await client.check(endpoint_of(secure))
        assert found.detail == f"The certificates in ca_file cannot be used: {file}: {reason}."
        assert secure.connections == 0
    assert (await client.check(endpoint_of(plain(server, "tiny")))).verdict is Verdict.READY


def test_a_variable_that_names_no_certificates_is_told_by_its_name(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at-all.pem")
    with pytest.raises(
        ServerUnavailable, match=r"SSL_CERT_FILE cannot be used: /nowhere/at-all\.pem"
    ):
        new_tls_context()


def test_the_variable_takes_the_place_of_the_usual_certificates_and_the_setting_comes_on_top(
    monkeypatch,
):
    usual = len(new_tls_context().get_ca_certs())
    assert len(new_tls_context(AUTHORITY).get_ca_certs()) == usual + 1
    monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)
    assert len(new_tls_context().get_ca_certs()) == 1
    assert new_tls_context().verify_mode is ssl.CERT_REQUIRED


async def test_certificates_are_read_once_for_all_servers_and_never_for_http(monkeypatch):
    read = []
    monkeypatch.setattr(
        "lmchat.proxy.connections.new_tls_context",
        lambda file: read.append(file) or new_tls_context(file),
    )
    connections = Connections(ca_file=AUTHORITY)
    for address in ("http://127.0.0.1:1", "https://127.0.0.1:2", "https://models.example"):
        await connections.client(Endpoint.parse(address))
    await connections.aclose()
    assert read == [AUTHORITY]
