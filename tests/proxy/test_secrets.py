"""Nothing that was typed or answered, and no key, is left behind."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from lmchat.domain.server import Verdict
from tests.support.port_map import PortMap
from tests.support.proxy_calls import ask, endpoint_of, events_of
from tests.support.scripted_products import CHAT, answer, llama_cpp, plain
from tests.support.scripted_server import Cut, ScriptedServer, json_reply, sse

MARK = "marked-words-4711"
KEY = "sk-marked-key-4711"


@pytest.mark.rule("R-10")
async def test_log_cache_and_metrics_hold_neither_words_nor_keys(server, make_client, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    client = make_client(key=KEY, cache_file=tmp_path / "models.json")
    llama_cpp(server)
    await client.check(endpoint_of(server))
    server.on(
        CHAT,
        answer(MARK),
        sse(MARK, Cut()),
        sse({"error": {"message": f"{MARK} {KEY}"}}),
        json_reply({"error": {"message": f"{MARK} {KEY}"}}, status=500),
        json_reply({"error": {"message": f"{MARK} {KEY}"}}, status=503),
    )
    for _ in range(6):
        await events_of(client, ask(server, MARK))
    left = caplog.text + (tmp_path / "models.json").read_text() + repr(client.metrics())
    assert MARK not in left
    assert KEY not in left
    assert "chat request" in caplog.text


def test_the_package_itself_is_light():
    names = "('httpx', 'asyncio', 'msgspec')"
    code = f"import sys, lmchat.proxy; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


async def test_a_place_that_nobody_named_gets_a_key_only_after_it_asks_for_one(make_client):
    with ScriptedServer() as asking, ScriptedServer() as silent:
        llama_cpp(asking, key=KEY)
        plain(silent, "tiny")
        ports = PortMap({("127.0.0.1", 8080): asking, ("127.0.0.1", 8000): silent})
        candidates = await make_client(key=KEY, transport=ports).detect()
        verdicts = {one.endpoint.port: one.verdict for one in candidates}
        assert verdicts[8080] is verdicts[8000] is Verdict.READY
        assert [one for one in silent.requests if "authorization" in one.headers] == []
        assert "authorization" not in asking.requests[0].headers
