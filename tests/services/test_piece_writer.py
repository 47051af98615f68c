from __future__ import annotations

import asyncio
import shutil
from contextlib import aclosing

import pytest

from lmchat.domain.turn import RESET
from lmchat.errors import StoreUnavailable
from lmchat.services.save_queue import PieceWriter, SaveQueue
from tests.support.chats import store_at
from tests.support.conversations import SETTINGS, begin
from tests.support.scripted_backend import ScriptedBackend, answer_steps, read


class Flaky:
    """Takes pieces, or fails so often first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written = []
        self.tried = asyncio.Event()
        self.done = asyncio.Event()

    async def add_pieces(self, message_id, pieces):
        self.tried.set()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("The disk is full.")
        self.written += pieces
        self.done.set()
        return False


async def test_what_could_not_be_written_is_written_first_when_the_disk_is_back():
    disk = Flaky(failures=2)
    save_queue = SaveQueue(disk)
    async with PieceWriter(save_queue, "m") as writer:
        writer.add(("text", "a"))
        await disk.tried.wait()
        writer.add(("text", "b"), ("reasoning", "c"))
        await disk.done.wait()
    assert disk.written == [("text", "a"), ("text", "b"), ("reasoning", "c")]


async def test_what_could_not_be_written_comes_before_what_replaces_it():
    disk = Flaky(failures=1)
    async with PieceWriter(SaveQueue(disk), "m") as writer:
        writer.add(("text", "a"))
        await disk.tried.wait()
        writer.add(RESET, ("reasoning", "ab"))
        await disk.done.wait()
    assert disk.written == [("text", "a"), RESET, ("reasoning", "ab")]


async def test_the_warning_stands_while_the_text_cannot_be_written_and_goes_with_the_trouble():
    disk = Flaky(failures=1)
    save_queue = SaveQueue(disk)
    assert not await save_queue.add_pieces("m", [("text", "a")])
    assert save_queue.warning is not None
    assert await save_queue.add_pieces("m", [("text", "a")])
    await save_queue.write_unsaved()
    assert save_queue.warning is None


@pytest.fixture
async def store(tmp_path):
    opened = store_at(tmp_path)
    yield opened
    await opened.aclose()


async def on_disk(folder, conversation):
    """Return what another window reads."""
    async with aclosing(store_at(folder)) as other:
        return (await other.open_session(conversation.header.session_id)).messages


async def test_where_the_folder_was_removed_the_whole_session_is_written_again(tmp_path, store):
    conversation = begin(ScriptedBackend(answer_steps("One."), answer_steps("Two.")), store)
    await read(conversation.send("first", SETTINGS))
    shutil.rmtree(tmp_path / "lmchat")
    await read(conversation.send("second", SETTINGS))
    kept = await on_disk(tmp_path, conversation)
    assert [message.text for message in kept] == ["first", "One.", "second", "Two."]
    assert kept == conversation.messages


async def test_what_another_window_purges_comes_back_whole_where_the_talk_goes_on(tmp_path, store):
    conversation = begin(ScriptedBackend(answer_steps("One."), answer_steps("Two.")), store)
    await read(conversation.send("first", SETTINGS))
    async with aclosing(store_at(tmp_path)) as other:
        await other.purge(conversation.header.session_id)
    await read(conversation.send("second", SETTINGS))
    assert len(await on_disk(tmp_path, conversation)) == 4
