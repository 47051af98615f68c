from __future__ import annotations

import asyncio
import json
import os
import socket
import urllib.error
import urllib.request

import psutil
import pytest

from lmchat.base.errors import EngineUnavailable
from lmchat.core.config.settings import LocalSettings
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.local.gguf import ModelFile
from tests.support.engine_home import with_library
from tests.support.programs import children_of, is_running, until
from tests.support.real_server.prepare import shallow_model

pytestmark = [pytest.mark.usefixtures("engine_parts"), pytest.mark.timeout(60)]

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def tiny():
    return ModelFile(path=shallow_model(), name="tiny", size_bytes=1)


async def call(engine, path, key="", body=None):
    """Return the status and the body of a reply."""
    request = urllib.request.Request(f"http://127.0.0.1:{engine.endpoint.port}{path}", data=body)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with await asyncio.to_thread(_OPENER.open, request, timeout=20) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, None


@pytest.fixture
async def engine(tmp_path):
    one = Engine(
        LocalSettings(context=512, threads=1),
        folder=tmp_path,
        log_file=tmp_path / "state" / "engine.log",
        environ=with_library(dict(os.environ)),
    )
    yield one
    await one.stop()


async def test_it_serves_to_who_has_the_key_which_no_list_shows_and_logs_nothing_of_a_chat(engine):
    assert await engine.start(tiny()) == engine.endpoint
    assert (engine.is_ready, engine.endpoint.host) == (True, "localhost")
    status, models = await call(engine, "/v1/models", engine.key)
    assert (status, models["data"][0]["id"]) == (200, "tiny")
    for key in ("", "guessed"):
        assert (await call(engine, "/v1/models", key))[0] == 401
    for message, is_good in (
        ({"role": "user", "content": "kumquat"}, True),
        ({"role": "user", "kumquat": 5}, False),
    ):
        body = json.dumps({"messages": [message], "max_tokens": 4}).encode()
        status, _ = await call(engine, "/v1/chat/completions", engine.key, body)
        assert (status == 200) is is_good
    log = engine._log_file.read_text(encoding="utf-8")
    assert ("kumquat" in log, engine.key in log) == (False, False)
    assert engine.key not in " ".join(psutil.Process(engine._child.pid).cmdline())
    await engine.stop()
    assert not engine.is_ready


async def test_a_start_that_is_given_up_leaves_no_child(engine):
    before = set(children_of(os.getpid()))
    task = asyncio.ensure_future(engine.start(tiny()))
    await until(lambda: set(children_of(os.getpid())) - before, "the child is there")
    (pid,) = set(children_of(os.getpid())) - before
    assert engine.is_loading
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not is_running(pid)
    assert not engine.is_loading
    assert not engine.is_ready


async def test_a_log_that_cannot_be_written_is_told_with_the_next_step(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    log_file = tmp_path / "file" / "engine.log"
    engine = Engine(LocalSettings(), folder=tmp_path, log_file=log_file, environ={})
    with pytest.raises(EngineUnavailable, match="cannot be written") as caught:
        await engine.start(tiny())
    assert "LMCHAT_HOME" in caught.value.next_step


async def test_a_port_that_another_program_has_taken_gets_no_key_and_no_prompt(engine):
    address = ("127.0.0.1", engine.reserve_address().port)
    failure = pytest.raises(EngineUnavailable, match="Another program uses port")
    with socket.create_server(address), failure as caught:
        await engine.start(tiny())
    assert "Start lmchat again" in caught.value.next_step
    await engine.start(tiny())
