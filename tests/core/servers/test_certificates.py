from __future__ import annotations

import re
import ssl
from contextlib import contextmanager

import pytest

from lmchat.base.errors import ServerUnavailable
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.connections import new_tls_context
from tests.support.client_calls import answered, ask, events_of
from tests.support.scripted_products import plain
from tests.support.scripted_server import ALONE, AUTHORITY, HOSTS, ScriptedServer


@contextmanager
def server_with_certificate(certificate: str):
    with ScriptedServer(certificate=certificate) as server:
        yield plain(server, "tiny")


@pytest.mark.parametrize(
    ("certificate", "host", "ca_file", "is_variable"),
    [
        ("hosts", "localhost", AUTHORITY, False),
        ("hosts", "127.0.0.1", AUTHORITY, True),
        ("alone", "localhost", ALONE, False),
        ("hosts", "localhost", HOSTS, False),  # itself, without its authority
        ("hosts", "localhost", HOSTS, True),
    ],
)
async def test_a_server_of_ones_own_is_reached_once_its_certificate_is_named(
    make_client, monkeypatch, certificate, host, ca_file, is_variable
):
    if is_variable:
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    client = make_client(key="sk-1", ca_file="" if is_variable else ca_file)
    with server_with_certificate(certificate) as server:
        endpoint = Endpoint.parse(f"https://{host}:{server.port}")
        assert (await client.models.check(endpoint)).word == "ready"
        await answered(client, ask(endpoint))
        assert server.requests[-1].headers["authorization"] == "Bearer sk-1"


async def test_what_the_system_trusts_is_trusted_unless_a_variable_replaces_it(
    make_client, monkeypatch
):
    def trust(context: ssl.SSLContext) -> None:
        context.load_verify_locations(AUTHORITY)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", trust)
    with server_with_certificate("hosts") as server:
        endpoint = Endpoint.parse(f"https://localhost:{server.port}")
        assert (await make_client().models.check(endpoint)).word == "ready"
        monkeypatch.setenv("SSL_CERT_FILE", ALONE)
        assert (await make_client().models.check(endpoint)).word == "server error"


async def test_a_certificate_that_is_not_believed_gets_one_sentence_and_no_byte(make_client):
    for certificate, words in (
        ("hosts", "unable to get local issuer certificate"),
        ("alone", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("elsewhere", "Hostname mismatch, certificate is not valid for 'localhost'"),
    ):
        client = make_client(ca_file=AUTHORITY if certificate in ("expired", "elsewhere") else "")
        with server_with_certificate(certificate) as server:
            endpoint = Endpoint.parse(f"https://localhost:{server.port}")
            found = await client.models.check(endpoint)
            events, error = await events_of(client, ask(endpoint, "marked words"))
            assert isinstance(error, ServerUnavailable)
            place = f"localhost:{server.port}"
            told = f"The certificate of {place} is not trusted: {words}. Nothing was sent."
            assert (error.kind, error.message) == ("certificate", told)
            is_trust_missing = certificate != "elsewhere"
            assert ("set ca_file in config.toml or" in error.next_step) is is_trust_missing
            assert ("in place of localhost" in error.next_step) is not is_trust_missing
            assert (found.word, found.detail, found.next_step) == (
                "server error",
                told,
                error.next_step,
            )
            assert [type(event).__name__ for event in events] == ["RequestSent"], (
                "it is not tried again"
            )
            assert (server.connections, server.requests) == (0, [])


def test_a_variable_that_names_no_certificates_is_told_by_its_name(monkeypatch, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path, reason in (("/nowhere/at-all.pem", "No such file"), (empty, "it contains no cert")):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        told = re.escape(f"SSL_CERT_FILE cannot be used: {path}: {reason}")
        with pytest.raises(ServerUnavailable, match=told):
            new_tls_context()
