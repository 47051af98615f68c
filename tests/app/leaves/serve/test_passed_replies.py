"""Replies that `lmchat serve` passes on to programs, fast and slow ones."""

from __future__ import annotations

import asyncio
import json

import pytest

from lmchat.app.leaves.serve.app import RequestReport, ServeApp
from lmchat.app.leaves.serve.model_routes import ServerWatch
from lmchat.base.errors import LMChatError
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import State
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.stream import end as answer_end
from tests.support.chats import stats_store_at
from tests.support.client_calls import endpoint_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import DONE, Hold, Pause, finish, sse
from tests.support.serving import CHAT_PATH, HI


@pytest.fixture
async def client():
    one = HttpServerClient(Settings())
    yield one
    await one.aclose()


@pytest.fixture
async def stats_store(tmp_path):
    store = stats_store_at(tmp_path)
    yield store
    await store.database.aclose()


@pytest.fixture
async def app(server, client, stats_store):
    async def find():
        return (await client.models.check(endpoint_of(server)),)

    def log_unexpected(error: Exception) -> LMChatError:
        raise error

    def on_request(_: RequestReport) -> None:
        pass

    watch = ServerWatch(find, lambda _: None)
    await watch.look()
    return ServeApp(
        client=client,
        watch=watch,
        settings=Settings(),
        finder=ServerFinder(client.models, Settings(), State),
        hosts=frozenset(("here",)),
        pause_s=0.05,
        stats_store=stats_store,
        on_request=on_request,
        log_unexpected=log_unexpected,
    )


async def ask(app: ServeApp, takes: int, **fields: object) -> bytes:
    """Return what a program gets that takes so many parts of the reply."""
    body = json.dumps({"model": "tiny", "messages": HI, "stream": True, **fields}).encode()
    messages = [{"type": "http.request", "body": body}]
    taken: list[bytes] = []

    async def receive():
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message):
        if len(taken) == takes:
            await asyncio.Event().wait()
        taken.append(message.get("body", b""))

    headers = [(b"host", b"here")]
    scope = {"type": "http", "method": "POST", "path": CHAT_PATH, "headers": headers}
    async with asyncio.timeout(10):
        await app({**scope, "query_string": b"", "root_path": ""}, receive, send)
    return b"".join(taken)


async def test_a_program_that_takes_nothing_for_too_long_loses_its_reply_and_frees_the_slot(
    server, app, stats_store
):
    server.on(CHAT, sse("one", Hold()), chat_reply("two"))
    assert await ask(app, 1) == b"", "it has taken the head alone"
    assert b"two" in await ask(app, 100)
    (found,) = await stats_store.model_stats()
    assert (found.turns, found.complete) == (2, 1)


async def test_parallel_answers_pass_until_the_server_ends_them(server, app, monkeypatch):
    monkeypatch.setattr(answer_end, "END_WAIT_S", 0.05)
    other = {"choices": [{"index": 1, "delta": {"content": "other"}}]}
    late = {"choices": [{"index": 1, "delta": {"content": "late"}}]}
    server.on(CHAT, sse("Hi", other, finish(), Pause(0.2), late, DONE))
    assert b"late" in await ask(app, 100, n=2)
