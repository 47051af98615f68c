from __future__ import annotations

import logging
import traceback
from functools import partial

import httpx
import pytest

from lmchat.api import Client
from lmchat.api.api_keys import ApiKeys
from lmchat.base.errors import LMChatError
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.load import LoadedSettings
from lmchat.core.config.settings import Settings
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.connections import OneKey
from tests.support.client_calls import PortMap, ask, events_of, failure_of
from tests.support.recorded_server import RecordedServer
from tests.support.scripted_products import CHAT, jan, llama_cpp, lm_studio, plain
from tests.support.scripted_server import (
    AUTHORITY,
    ScriptedServer,
    error_reply,
    json_reply,
    raw_reply,
    text_reply,
)

MARK = "marked-words-4711"
KEY = "sk-marked-key-4711"


class Quoting(httpx.AsyncBaseTransport):
    """A library that fails with what it was given in its words."""

    def __init__(self, *kinds: type[Exception]) -> None:
        self.kinds = list(kinds)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        said = f"{request.headers.get('authorization')} {(await request.aread()).decode()}"
        raise self.kinds.pop(0)(said)


async def test_a_mistake_of_a_library_tells_its_kind_and_not_its_words(make_client, caplog):
    caplog.set_level(logging.DEBUG)
    kinds = (KeyError, ValueError, RuntimeError, AssertionError, RecursionError)
    client = make_client(key=KEY, transport=Quoting(*kinds))
    for kind in kinds:
        error = await failure_of(client, ask(Endpoint.parse("http://localhost:1"), MARK))
        told = f"{error} {error.next_step} {error.details} {error!r}"
        assert error.details == kind.__name__
        assert (KEY in told, MARK in told) == (False, False)
    as_json_line = pytest.importorskip("lmchat.app.cli.log_file").as_json_line  # of the app
    lines = "\n".join(as_json_line(record) for record in caplog.records)
    assert (KEY in lines, MARK in lines) == (False, False)
    assert '"exception": "RecursionError"' in lines, "the log has the kind and the places"


async def test_a_program_finds_the_key_in_nothing_that_it_is_handed(monkeypatch, caplog):
    for certificate in ("", "hosts", "expired"):
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)
        with ScriptedServer(certificate=certificate) as server:
            plain(server, "tiny", key=KEY)
            async with Client(server.url, key=KEY) as client:
                handed = [client, client.metrics(), await client.health()]
                for call in (client.models, client.detect, lambda: client.chat(MARK)):
                    try:
                        handed.append(await call())
                    except LMChatError as error:
                        handed += [error, vars(error), error.__cause__]
                # shortened before the key is cut out, it would end in half of the key
                server.on(CHAT, error_reply(400, f"{KEY} {'x' * 270} {KEY}", code=KEY))
                with pytest.raises(LMChatError) as caught:
                    await client.chat("Hi")
                handed += [caught.value, vars(caught.value)]
            assert KEY[:9] not in repr(handed) + caplog.text
            assert MARK not in caplog.text
            assert (server.requests == []) is (certificate == "expired")


def test_the_key_of_a_program_is_for_the_servers_it_names_or_else_for_this_machine():
    far = Endpoint.parse("https://models.example")
    here = Endpoint.parse("localhost:1")
    for keys, owner in ((OneKey(KEY), here), (OneKey(KEY, far), far)):
        assert [one for one in (far, here) if keys.known_key(one) == KEY] == [owner]


async def test_a_key_that_no_header_can_hold_is_refused_without_its_words(
    make_client, server, caplog
):
    for key in (f"{KEY}\r\nX-More: 1", f"{KEY}é", f"{KEY}\ty"):
        caplog.set_level(logging.DEBUG)
        plain(server, "tiny", key=KEY)
        client = make_client(key=key)
        found = await client.models.check(Endpoint.parse(server.url))
        error = await failure_of(client, ask(server))
        assert isinstance(error, LMChatError)
        assert (error.kind, server.connections) == ("auth", 0)
        assert (found.word, "API key" in found.detail) == ("key rejected", True)
        assert KEY not in f"{found!r} {vars(error)} {error.__cause__!r} {caplog.text}"


async def test_a_reply_whose_broken_header_repeats_the_key_is_told_without_it(make_client, server):
    for line in ("X-Echo: {}\0", "X-Echo\x01{}: 1"):
        header = line.format(f"Bearer {KEY}")
        server.unknown = raw_reply(f"HTTP/1.1 200 OK\r\n{header}\r\n\r\n".encode())
        client = make_client(key=KEY)
        found = await client.models.check(Endpoint.parse(server.url))
        error = await failure_of(client, ask(server))
        assert isinstance(error, LMChatError)
        assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in f"{found!r} {error} {vars(error)}"
        assert KEY not in "".join(traceback.format_exception(error))


def keys_in(server: ScriptedServer) -> list[str]:
    return [
        one.headers["authorization"] for one in server.requests if "authorization" in one.headers
    ]


def recorded(product: str, lead: str, server: ScriptedServer) -> None:
    server.unknown = RecordedServer(product, lead).unknown
    # litellm/proxy/health_endpoints/_health_endpoints.py
    server.on("GET /health/liveliness", json_reply("I'm alive!"))


LOCKED = {
    1234: partial(lm_studio, key=KEY),
    1337: partial(jan, key=KEY),
    8080: partial(llama_cpp, key=KEY),
    8000: partial(recorded, "vllm", "error-401"),
    4000: partial(recorded, "litellm", "models-nokey"),
}


@pytest.mark.rule("R-4", "R-10")
@pytest.mark.parametrize("port", [*LOCKED, 11434, 5000, 13305])
async def test_a_key_without_an_address_is_for_programs_that_are_recognised(
    make_client, server, tmp_path, port
):
    """Whichever is usual at its port; for a scan, a look and a prompt, and until it ends."""
    settings = Settings(api_key=KEY)
    loaded = LoadedSettings(settings=settings, file=tmp_path / "config.toml")
    keys = ApiKeys(loaded, {}, Credentials(tmp_path / "credentials.toml"))
    there = PortMap({})
    endpoint = Endpoint.parse(f"localhost:{port}")
    client = make_client(keys=keys, transport=there)
    locked = LOCKED.get(port)

    async def looks() -> list[ServerStatus]:
        found = [*await client.models.detect(), await client.models.check(endpoint)]
        return [one for one in found if one.endpoint == endpoint]

    for turn, script in enumerate((locked, partial(plain, key=KEY), plain, locked)):
        there.places.clear()
        assert [one.word for one in await looks()][-1] == "refused", "what was there has ended"
        there.places["localhost", port] = server
        server.forget()
        server.unknown = text_reply("Not Found", status=404)
        if script is not locked:
            script(server)
            server.on("GET /version", text_reply('{"version":"0.12.0"}'))  # as vLLM's
            for row in await looks():
                assert (row.product, row.label) == ("OpenAI-compatible", endpoint.netloc)
                is_told = "entry with this url and the key" in row.next_step
                assert (row.word == "needs key") is is_told
            await events_of(client, ask(endpoint))
            assert not keys_in(server)
            if script is not plain:
                assert (await client.models.check(endpoint, key="wrong")).word == "key rejected"
                opened = await client.models.check(endpoint, key=KEY)
                assert {one.product for one in (opened, *opened.models)} == {"OpenAI-compatible"}
                assert (await client.models.check(endpoint)).word == "needs key", "it is not kept"
        elif locked:
            locked(server)
            await (events_of(client, ask(endpoint)) if turn else looks())
            assert "authorization" not in server.requests[0].headers, "it is looked at first"
            assert keys_in(server)
        server.requests.clear()
