"""The built-in engine behind the client of all servers: a server that requests start."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing, suppress

import pytest

from lmchat.base.errors import ServerRejected, StreamInterrupted
from lmchat.core.config.settings import LocalSettings, Settings, TimeoutSettings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.events import ModelLoading, StreamFinished, TextDelta
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.model import LoadState
from tests.support.client_calls import FixedKey, answered, ask, failure_of
from tests.support.engine_home import engines_with, with_library
from tests.support.real_server.prepare import shallow_model
from tests.support.scripted_backend import read
from tests.support.scripted_hub import REPO, ScriptedHub
from tests.support.scripted_server import ScriptedServer

pytestmark = [pytest.mark.usefixtures("engine_parts"), pytest.mark.timeout(60)]


@pytest.fixture
def keys():
    return FixedKey()


@pytest.fixture
def log(tmp_path):
    """The log of the engine, by which it is told from servers of other tests."""
    return tmp_path / "state" / "engine.log"


@pytest.fixture
def engine(tmp_path, keys, log):
    """An engine on a disk with two model files."""
    folder = tmp_path / ".lmstudio/models/org"
    folder.mkdir(parents=True)
    for name in ("big", "small-Q4_1"):
        copy = folder / f"{name}.gguf"
        copy.write_bytes(shallow_model().read_bytes())
    return Engine(
        LocalSettings(context=512, threads=1),
        folder=tmp_path / "demo",
        log_file=log,
        environ=with_library(dict(os.environ)) | {"HOME": str(tmp_path)},
        on_address=lambda _, key: setattr(keys, "key", key),
    )


@pytest.fixture
async def client(engine, keys, log):
    one = HttpServerClient(Settings(), keys=keys, engine=engine)
    yield one
    await one.aclose()
    assert not engines_with(log), "the engine ends with the client"


def to_engine(engine, name="big", text="Hi", **more):
    return ask(engine.endpoint, text, product="built-in", model=name, **more)


async def started(engine, name="big"):
    engine.reserve_address()
    await engine.load(name)


async def test_it_is_the_first_server_and_its_models_are_all_files(engine, client):
    await started(engine)
    first, *others = await client.models.detect()
    assert (first.product, first.word, first.is_configured) == ("built-in", "ready", True)
    assert engine.endpoint not in {other.endpoint for other in others}
    big, small = first.models
    assert (big.model_id, big.state, big.context_loaded) == ("big", LoadState.LOADED, 512)
    assert (big.params, big.quantization) == ("35M", "Q4_1")
    assert (small.model_id, small.state) == ("small-Q4_1", LoadState.NOT_LOADED)
    assert small.quantization == "Q4_1"
    assert client.models.cached().models == first.models


async def test_no_file_is_downloaded_without_a_yes_and_a_disk_without_models_is_told(
    engine, client, monkeypatch, tmp_path
):
    asked = []

    async def agrees(question):
        asked.append(question)
        return False

    with ScriptedServer() as hub, ScriptedServer() as files:
        ScriptedHub(hub, files).put({"alder-Q4_K_M.gguf": b"GGUF"})
        monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/")
        assert await client.models.download_file(engine, REPO, agrees, asked.append) is None
        assert (len(asked), files.seen()) == (1, [])
    engine.reserve_address()
    for is_left in (True, False):
        seen = await client.models.check(engine.endpoint)
        assert (seen.reason, bool(seen.models)) == (
            "model_not_loaded" if is_left else "empty",
            is_left,
        )
        for path in tmp_path.rglob("*.gguf"):
            path.unlink()
        await engine.files(is_refresh=True)


async def test_models_are_loaded_with_their_window_and_unloaded_at_the_same_address(
    engine, client, tmp_path
):
    await started(engine)
    address = engine.endpoint
    (big, small) = (await client.models.check(address)).models
    for context in (384, 256):
        await client.models.load(small, context=context)
    key = engine.key
    pid = engine._child.pid
    await client.models.load(small)
    assert engine._child.pid == pid
    states = {
        one.model_id: one.context_loaded for one in (await client.models.check(address)).models
    }
    assert states == {"big": None, "small-Q4_1": 256}
    await client.models.unload(small)
    seen = await client.models.check(address)
    assert (seen.word, seen.next_step) == ("no model loaded", "Choose a model file")
    assert {one.state for one in seen.models} == {LoadState.NOT_LOADED}
    elsewhere = tmp_path / "elsewhere.gguf"
    (tmp_path / ".lmstudio/models/org/big.gguf").rename(elsewhere)
    await engine.start(await engine.choose(str(elsewhere)))
    listed, *_ = await client.models.detect()
    assert (engine.endpoint, engine.key) == (address, key)
    windows = [(one.model_id, one.context_loaded) for one in listed.models]
    assert windows == [("elsewhere", 512), ("small-Q4_1", None)]
    with pytest.raises(ServerRejected, match="There is no model big on this disk anymore"):
        await client.models.load(big)


async def test_after_a_crash_the_reason_is_told_and_the_next_request_starts_it_again(
    engine, client
):
    await started(engine)
    request = to_engine(engine, text="Count to 500.")
    with pytest.raises(StreamInterrupted) as caught:  # noqa: PT012 - the event before it counts
        async with aclosing(client.stream(request)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    with suppress(ProcessLookupError):  # it may have ended, with text on its way
                        os.kill(engine._child.pid, signal.SIGSEGV)
    crash = "The built-in engine crashed (signal SIGSEGV)."
    assert caught.value.message == crash
    assert caught.value.next_step.endswith("The next request starts it again.")
    seen = await client.models.check(engine.endpoint)
    assert (seen.word, seen.detail) == ("server error", crash)
    assert seen.next_step
    assert {one.state for one in seen.models} == {LoadState.NOT_LOADED}
    events = await answered(client, to_engine(engine, max_tokens=3))
    assert isinstance(events[0], ModelLoading)
    assert isinstance(events[-1], StreamFinished)
    error = await failure_of(client, to_engine(engine, "gone"))
    assert error.kind == "model_missing"


async def test_an_engine_that_falls_silent_has_not_crashed(engine, keys):
    settings = Settings(timeouts=TimeoutSettings(give_up_after_s=0.3))
    async with aclosing(HttpServerClient(settings, keys=keys, engine=engine)) as client:
        await started(engine)
        child = engine._child
        try:
            with pytest.raises(StreamInterrupted) as caught:  # noqa: PT012 - the event before it counts
                async with aclosing(client.stream(to_engine(engine, text="Count."))) as events:
                    async for event in events:
                        if isinstance(event, TextDelta):
                            os.kill(child.pid, signal.SIGSTOP)
        finally:
            os.kill(child.pid, signal.SIGCONT)
        assert "crashed" not in caught.value.message
        assert engine.is_ready


async def test_it_counts_and_reads_ahead_for_the_model_that_it_serves_alone(engine, client, log):
    await started(engine)
    assert len(engines_with(log)) == 1
    assert await client.count_tokens(to_engine(engine)) > 0
    await read(client.read_ahead(to_engine(engine)))
    await engine.stop()
    await client.models.check(engine.endpoint)
    assert await client.count_tokens(to_engine(engine)) is None
    with pytest.raises(ServerRejected):
        await read(client.read_ahead(to_engine(engine)))
    assert not engines_with(log), "it was not started for that"
