"""Prompts that the real built-in engine has read, kept on the disk from one run to the next."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing, asynccontextmanager, suppress

import pytest

from lmchat.core.config.settings import LocalSettings, Settings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.events import StreamFinished, TextDelta, UsageReported
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.local.kept_slot import KeptSlot
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.request import ChatRequest, Sampling
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import now
from lmchat.core.storage.store import Store
from tests.support.chats import answer, header, prompt
from tests.support.client_calls import FixedKey, answered
from tests.support.engine_home import with_library
from tests.support.real_server.prepare import shallow_model

pytestmark = [pytest.mark.usefixtures("engine_parts"), pytest.mark.timeout(300)]

LONG = "Which costs most? " + " ".join(f"item {i} costs {i * 7 % 100} coins," for i in range(26))


class Home:
    """A disk with two model files of one content, saved sessions, and the folder of prompts."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.kept = folder / "kept_prompts"
        self.store = Store(folder / "sessions.db", kept_prompts=self.kept)
        models = folder / ".lmstudio/models/org"
        models.mkdir(parents=True)
        for name in ("big", "other"):
            (models / f"{name}.gguf").write_bytes(shallow_model().read_bytes())

    async def session(self, text=LONG):
        """Save a session with one prompt; return its header and the prompt."""
        one = header()
        asked = prompt(text)
        await self.store.append(one, asked)
        return one, asked

    @asynccontextmanager
    async def run(self, most_mb=100):
        """Yield a client with an engine; its end is the end of lmchat."""
        keys = FixedKey()
        self.engine = Engine(
            LocalSettings(context=1024, threads=1),
            folder=self.folder / "demo",
            log_file=self.folder / "engine.log",
            environ=with_library(dict(os.environ)) | {"HOME": str(self.folder)},
            on_address=lambda _, key: setattr(keys, "key", key),
        )
        self.engine.slot = KeptSlot(self.kept, most_mb=most_mb, are_saved=self.store.are_visible)
        self.engine.reserve_address()
        client = HttpServerClient(Settings(), keys=keys, engine=self.engine)
        try:
            yield client
        finally:
            await client.aclose()

    def request(self, *messages, model="big", answer=""):
        product = ModelInfo(endpoint=self.engine.endpoint, product="built-in", model_id=model)
        sampling = Sampling(seed=7, temperature=0.8, max_tokens=8)
        return ChatRequest(
            target=Target.of(product), messages=messages, sampling=sampling, message_id=answer
        )

    async def ask(self, client, *messages, model="big", answer=""):
        """Return an answer, and how many tokens of its prompt were read for it."""
        events = await answered(client, self.request(*messages, model=model, answer=answer))
        assert isinstance(events[-1], StreamFinished)
        usage = [event for event in events if isinstance(event, UsageReported)][-1]
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        return text, usage.prompt_tokens - usage.cached_tokens

    def files(self):
        return sorted(self.kept.iterdir()) if self.kept.exists() else []


@pytest.fixture
async def home(tmp_path):
    one = Home(tmp_path)
    yield one
    await one.store.aclose()


@pytest.mark.rule("R-47")
async def test_the_next_run_reads_one_token_and_answers_the_same_also_after_a_kill(home):
    _, asked = await home.session()
    async with home.run() as client:
        _, cold = await home.ask(client, asked)
        warm = await home.ask(client, asked)
    assert (cold > 256, warm[1]) == (True, 1)
    (file,) = home.files()
    assert file.stat().st_mode & 0o777 == 0o600
    assert home.kept.stat().st_mode & 0o777 == 0o700

    _, short = await home.session("Hi")
    async with home.run() as client:
        assert await home.ask(client, asked) == warm
        assert home.files() == [], "it is in the slot now"
        await home.ask(client, short)  # takes the slot
        assert home.files() == [file]
        os.kill(home.engine._child.pid, signal.SIGKILL)
    async with home.run() as client:
        await home.engine.load("big")
        reading = client.read_ahead(home.request(asked, prompt("")))
        assert [step async for step in reading][-1].fraction == 1
        assert await home.ask(client, asked) == warm
    assert home.files() == [file], "too short a prompt is not kept"

    async with home.run() as client, aclosing(client.stream(home.request(asked))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert [one.stem for one in home.files()] == [file.stem], "also after a stopped answer"


@pytest.mark.rule("R-47")
async def test_a_file_of_another_model_or_that_was_cut_is_not_offered_and_all_goes_on(home):
    one, asked = await home.session()
    async with home.run() as client:
        _, cold = await home.ask(client, asked)
    (file,) = home.files()
    with file.open("r+b") as data:
        data.truncate(file.stat().st_size - 1)  # llama.cpp would end at it
    async with home.run() as client:
        assert (await home.ask(client, asked))[1] == cold
        assert home.files() == []
        await home.ask(client, asked, model="other")
        assert len(home.files()) == 1, "a whole one has replaced it"
        await home.store.update_session(one.session_id, {"deleted_at": now()})
        assert home.files() == []
    assert home.files() == [], "no file has the words of a deleted session"
    assert "GGML_ASSERT" not in (home.folder / "engine.log").read_text(encoding="utf-8")


async def test_the_oldest_files_go_that_are_too_many_and_without_room_nothing_is_kept(home):
    home.kept.mkdir()
    (home.kept / "mine.txt").write_text("kale", encoding="utf-8")
    old, older = (home.kept / f"{name}.0123456789abcdef.2000000" for name in ("old", "older"))
    for hour, file in enumerate((older, old)):
        with file.open("wb") as data:
            data.truncate(2_000_000)
        os.utime(file, (hour, hour))
    _, asked = await home.session()
    async with home.run(most_mb=4) as client:
        await home.ask(client, asked)
        assert older in home.files()
    assert (old in home.files(), older in home.files(), len(home.files())) == (True, False, 3)
    async with home.run(most_mb=0):
        await home.engine.load("big")
    assert [file.name for file in home.files()] == ["mine.txt"]


@pytest.mark.parametrize("is_purged", [True, False])
@pytest.mark.parametrize("deleted", ["answer", "prompt"])
async def test_a_slot_with_a_deleted_message_is_not_written(home, deleted, is_purged):
    one, asked = await home.session()
    said = answer("Item 7.", parent=asked)
    again = prompt("And the cheapest?", asked)
    await home.store.end_answer(one.session_id, said)
    _, short = await home.session("Hi")
    async with home.run() as client:
        await home.ask(client, asked, answer=said.message_id)
        if deleted == "prompt":
            await home.store.append(one, again)
            await home.ask(client, asked, again)
        gone = again if deleted == "prompt" else said
        await home.store.delete_message(one.session_id, gone.message_id)
        home.store.keep_locked(())  # its window shows another session
        if is_purged:
            other = Store(home.folder / "sessions.db", kept_prompts=home.kept)
            await other.purge(is_with_messages=True)
            await other.aclose()
        await home.ask(client, short)  # takes the slot
    assert home.files() == []


async def test_a_file_that_is_written_while_its_message_is_purged_goes(home):
    one, asked = await home.session()
    said = answer("Item 7.", parent=asked)
    await home.store.end_answer(one.session_id, said)
    looks = []

    async def are_visible(ids):
        looks.append(ids)
        is_visible = await home.store.are_visible(ids)
        await home.store.delete_message(one.session_id, said.message_id)
        await home.store.purge(is_with_messages=True)
        return is_visible

    async with home.run() as client:
        home.engine.slot = KeptSlot(home.kept, most_mb=100, are_saved=are_visible)
        await home.ask(client, asked, answer=said.message_id)
    assert home.files() == []
    assert looks == 2 * [(asked.message_id, said.message_id)]


async def test_a_request_that_was_stopped_may_have_left_in_the_slot_what_was_there(tmp_path):
    looks = []

    async def are_saved(ids):
        looks.append({*ids})
        return False

    slot = KeptSlot(tmp_path, most_mb=100, are_saved=are_saved)
    async with slot.holding(["first", "old answer"]):
        pass
    with suppress(asyncio.CancelledError):
        async with slot.holding(["first", "new prompt"]):
            raise asyncio.CancelledError
    await slot.save(1.0)
    assert looks == [{"first", "old answer", "new prompt"}]
