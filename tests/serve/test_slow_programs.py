"""Programs that stop taking the replies of `lmchat serve`."""

from __future__ import annotations

import asyncio
import json

import pytest

from lmchat.config.settings import Settings
from lmchat.config.state import State
from lmchat.errors import LMChatError
from lmchat.serve.app import RequestReport, ServeApp
from lmchat.serve.model_routes import ServerWatch
from lmchat.servers.client import HttpServerClient
from tests.support.chats import stats_store_at
from tests.support.client_calls import endpoint_of
from tests.support.scripted_products import CHAT, chat_reply, plain
from tests.support.scripted_server import Hold, ScriptedServer, sse
from tests.support.serving import CHAT_PATH, HI


@pytest.fixture
def server():
    with ScriptedServer() as one:
        yield plain(one, "tiny")


async def test_a_program_that_takes_nothing_for_too_long_loses_its_reply_and_frees_the_slot(
    server, tmp_path
):
    server.on(CHAT, sse("one", Hold()), chat_reply("two"))
    client = HttpServerClient(Settings())
    stats_store = stats_store_at(tmp_path)

    async def find():
        return (await client.check(endpoint_of(server)),)

    def log_unexpected(error: Exception) -> LMChatError:
        raise error

    def on_request(_: RequestReport) -> None:
        pass

    watch = ServerWatch(find, lambda _: None)
    await watch.look()
    app = ServeApp(
        client=client,
        watch=watch,
        settings=Settings(),
        state=State(),
        hosts=frozenset(("here",)),
        pause_s=0.05,
        stats_store=stats_store,
        on_request=on_request,
        log_unexpected=log_unexpected,
    )

    async def ask(takes: int) -> bytes:
        """Return what a program gets that takes so many parts of the reply."""
        body = json.dumps({"model": "tiny", "messages": HI, "stream": True}).encode()
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

    try:
        assert await ask(1) == b"", "it has taken the head alone"
        assert b"two" in await ask(100)
        (found,) = await stats_store.model_stats()
        assert (found.turns, found.complete) == (2, 1)
    finally:
        await client.aclose()
        await stats_store.database.aclose()
