from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import httpx
import pytest

from lmchat.base.errors import ServerUnavailable
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.connections import Connections, connect_timeout_s, read_up_to
from lmchat.core.servers.http.network_errors import unavailable_error
from tests.support.client_calls import endpoint_of
from tests.support.scripted_server import Pause, raw_reply


def because(error, cause):
    """Chain as httpx, httpcore and anyio do."""
    error.__cause__ = RuntimeError("between")
    error.__cause__.__context__ = ExceptionGroup("all attempts", [ValueError("other"), cause])
    return error


QUICK = httpx.Timeout(0.2)
HERE = Endpoint.parse("box.lan:1234")


def test_each_failure_of_the_network_is_a_sentence_with_a_step():
    unknown = because(httpx.ConnectError(""), socket.gaierror(socket.EAI_NONAME, "x"))
    reset = because(httpx.ReadError(""), OSError(errno.ECONNRESET, "x"))
    for error, kind, words in (
        (httpx.ConnectError("all failed"), "offline", "Nothing answers at box.lan:1234."),
        (unknown, "offline", "The name box.lan is unknown."),
        (because(httpx.ConnectError(""), ssl.SSLError(1, "x")), "certificate", "not use https"),
        (httpx.ConnectTimeout(""), "timeout", "Nothing answers at box.lan:1234."),
        (httpx.ReadTimeout(""), "timeout", "Request timeout: box.lan:1234"),
        (httpx.RemoteProtocolError("x"), "dropped", "Streaming failed"),
        (OSError("x"), "offline", "Nothing answers"),
        (reset, "dropped", "closed the connection"),
    ):
        told = unavailable_error(error, HERE)
        assert (told.kind, words in told.message, bool(told.next_step)) == (kind, True, True)
    for endpoint, has_hint in ((HERE, True), (Endpoint.parse("https://box.lan"), False)):
        told = unavailable_error(reset, endpoint)
        assert ("write https://" in told.next_step) is has_hint


@pytest.mark.rule("R-33")
async def test_each_origin_has_one_client_which_drops_a_connection_before_the_server():
    """LM Studio and llama.cpp close theirs after 5 s."""
    connections = Connections()
    one = await connections.client(Endpoint.parse("http://127.0.0.1:1/v1"))
    assert await connections.client(Endpoint.parse("http://127.0.0.1:1/other/v1")) is one
    hosted = await connections.client(Endpoint.parse("https://models.example"))
    assert hosted is not one
    assert one.follow_redirects is False
    assert 0 < hosted._transport._pool._keepalive_expiry < 5
    await connections.aclose()
    assert one.is_closed


@pytest.mark.rule("R-33")
async def test_a_near_server_may_close_each_connection_without_saying_so(server):
    """llama.cpp does, behind each streamed reply: its provider of chunks returns false at the end."""
    connections = Connections()
    server.on("GET /v1/models", raw_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    for _ in range(100):
        reply = await connections.ask(
            endpoint_of(server), "GET", f"{server.url}/v1/models", key="", timeout=httpx.Timeout(5)
        )
        assert reply.body == b"{}"
    await connections.aclose()


async def test_a_body_without_end_is_read_to_its_limit():
    async def endless():
        while True:
            yield b"12345678"

    assert await read_up_to(httpx.Response(200, content=endless()), 9) == b"12345678" * 2


async def test_a_reply_has_a_limit_as_a_whole_and_not_for_each_byte(server):
    connections = Connections()
    byte = (b"1", Pause(0.02))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n"
    for reply in (raw_reply(head + b"\r\n", *byte * 100), raw_reply(head + b"X-A: ", *byte * 100)):
        server.on("GET /v1/models", reply)
        with pytest.raises(ServerUnavailable) as caught:
            await connections.ask(
                endpoint_of(server), "GET", f"{server.url}/v1/models", key="", timeout=QUICK
            )
        assert caught.value.kind == "timeout"
        assert await asyncio.to_thread(server.seen()[-1].client_left.wait, 5)
    await connections.aclose()


async def test_a_reply_that_breaks_http_is_told_in_the_words_of_its_parser(server, make_client):
    ok = b"HTTP/1.1 200 OK\r\n"
    for reply, words in (
        (ok + b"This is no field\r\n\r\n", "illegal header line"),
        (b"HTTP/1.1 2OO OK\r\n\r\n", "illegal status line"),
        (b"220 mail.example ESMTP\r\n\r\n", "illegal status line"),
        (ok + b"Content-Length: five\r\n\r\nhello", "bad Content-Length"),
        (ok + b"Transfer-Encoding: chunked\r\n\r\nfive\r\nhello", "illegal chunk header"),
        (ok + b"Content-Length: 9\r\n\r\nhello", "peer closed connection without sending"),
    ):
        server.on("GET /v1/models", raw_reply(reply))
        found = await make_client().models.check(endpoint_of(server))
        assert f"Its reply breaks HTTP: {words}" in found.detail
        assert "https" not in f"{found.detail} {found.next_step}"
        assert "five" not in found.detail, "only the parser's words"
    for reply in (b"", b"\x15\x03\x03\x00\x02\x02\x46"):  # an alert of TLS (RFC 8446, 6)
        server.on("GET /v1/models", raw_reply(reply))
        found = await make_client().models.check(endpoint_of(server))
        assert "closed the connection before it answered" in found.detail


def test_this_machine_gets_less_time_to_connect():
    assert connect_timeout_s(Endpoint.parse("localhost:1"), None) == 2
    assert connect_timeout_s(HERE, None) == 10
    assert connect_timeout_s(HERE, 3) == 3


async def test_a_proxy_that_cannot_be_used_is_a_sentence_without_its_password(
    monkeypatch, make_client
):
    for name, value in (
        ("ALL_PROXY", "foo://user:secret@x"),
        ("HTTP_PROXY", "http://secret\x1b[31m"),
        ("HTTPS_PROXY", "http://secret:port"),
    ):
        monkeypatch.setenv(name, value)
        client = make_client(allowed_hosts=["box.invalid"])
        probed = await client.models.check(Endpoint.parse("http://box.invalid:1234"))
        assert probed.word == "refused"
        assert "cannot be used" in probed.detail
        assert "secret" not in repr(probed)
