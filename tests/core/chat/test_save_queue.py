from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from lmchat.base.errors import SessionNotFound, StoreUnavailable
from lmchat.core.chat.save_queue import AppendPrompt, SaveQueue, journal_writer
from lmchat.core.sessions.message import AnswerState
from lmchat.core.storage.store import Store
from tests.support.chats import answer, header, prompt, start_session
from tests.support.programs import until

FULL = StoreUnavailable("The disk is full.")


def append_to(store: Store) -> AppendPrompt:
    """Write prompts as `store.append` does at that time."""

    async def append(*prompt: Any) -> None:
        await store.append(*prompt)

    return append


async def test_what_failed_is_tried_until_it_is_written_and_holds_up_no_other_session(store):
    one = header("one")
    two = header("two")
    append = store.append
    tries = []

    async def broken(session, message):
        if session is one:
            tries.append(message.text)
            raise FULL
        await append(session, message)

    store.append = broken
    save_queue = SaveQueue(store, append_to(store), retry_s=0.01)
    first = prompt("1")
    other = prompt("other")
    second = prompt("2", first)
    await save_queue.save(one, first, second)
    await save_queue.save(two, other)
    assert save_queue.warning is FULL
    assert save_queue.is_unsaved(one.session_id)
    assert (await store.open_session(two.session_id)).messages == (other,)
    said = answer(parent=second, state=AnswerState.STREAMING)
    await save_queue.start_answer(one, said)  # its row comes at its end: its prompt has none yet
    assert await save_queue.add_entries(said.message_id, (("text", "a"),))
    assert save_queue.warning is FULL, "until the prompt is written, too"
    await until(lambda: len(tries) > 4, "more attempts")
    assert set(tries) == {"1"}
    store.append = append
    await until(lambda: save_queue.warning is None, "the end of the warning")
    assert (await store.open_session(one.session_id)).messages == (first, second)
    assert not save_queue.is_unsaved(one.session_id)


async def test_pieces_that_could_not_be_written_are_written_first_when_the_disk_is_back(store):
    session, asked = await start_session(store, "How long?")
    said = replace(answer(parent=asked, state=AnswerState.STREAMING), parts=())
    add_entries = store.add_entries
    tried = asyncio.Event()
    done = asyncio.Event()

    async def broken(*_):
        tried.set()
        raise FULL

    async def whole(*given):
        await add_entries(*given)
        done.set()

    store.add_entries = broken
    save_queue = SaveQueue(store, append_to(store))
    await save_queue.start_answer(session, said)
    async with journal_writer(save_queue, said.message_id) as entries:
        entries.append(("text", "a"))
        await tried.wait()
        assert save_queue.warning is FULL
        entries += [("text", "b"), ("reasoning", "c")]
        store.add_entries = whole
        await done.wait()
        running = (await store.open_session(session.session_id)).messages[-1]
    assert (running.text, running.reasoning) == ("ab", "c")
    assert save_queue.warning is None


async def test_changes_of_a_header_wait_for_the_disk_behind_its_messages_and_the_last_counts(store):
    session, first = await start_session(store, "How long?")
    update_session = store.update_session
    append = store.append

    async def broken(*_, **__):
        raise FULL

    store.update_session = store.append = broken
    save_queue = SaveQueue(store, append_to(store), retry_s=0.01)
    await save_queue.save(session, prompt("and then?", first))
    assert (await save_queue.change(session, "title", {"title": "Moss"})).title == "Moss"
    await save_queue.change(session, "title", {"title": "Fern"})
    await save_queue.change(session, "pin", {"is_pinned": True})
    title = session.title or "Untitled"
    assert save_queue.unsaved_changes == ["the title of “Fern”", f"the pin of “{title}”"]
    assert save_queue.warning is FULL
    store.update_session = update_session
    store.append = append
    await until(lambda: save_queue.warning is None, "the end of the warning")
    assert save_queue.unsaved_changes == []
    stored = (await store.open_session(session.session_id)).header
    assert (stored.title, stored.is_pinned, stored.message_count) == ("Fern", True, 2)

    async def rename_late(*given):
        store.update_session = update_session
        later.append(asyncio.ensure_future(save_queue.change(session, "title", {"title": "Ivy"})))
        await asyncio.sleep(0)
        return await update_session(*given)

    store.update_session = rename_late
    later = []
    await save_queue.change(session, "title", {"title": "Sage"})
    await later[0]
    assert (await store.open_session(session.session_id)).header.title == "Ivy"


async def test_a_change_of_a_session_that_is_gone_is_refused_and_not_tried_again(store):
    save_queue = SaveQueue(store, append_to(store), retry_s=0.01)
    with pytest.raises(SessionNotFound):
        await save_queue.change(header("gone"), "title", {"title": "Moss"})
    assert (save_queue.unsaved_changes, save_queue.warning) == ([], None)
