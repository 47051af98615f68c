from __future__ import annotations

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import aclosing, closing
from unittest.mock import AsyncMock

from lmchat.base.errors import StoreUnavailable
from lmchat.core.chat.drafts import SessionTexts
from lmchat.core.chat.events import AnswerStarted, MessageAdded
from lmchat.core.chat.service import ChatService
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.storage import opening
from tests.support.chat_turns import ChatTurns
from tests.support.chats import start_session, store_at
from tests.support.programs import until
from tests.support.scripted_backend import answer_steps, hold


async def is_on_disk(store, session_id: str, draft: str) -> None:
    while await store.draft(session_id) != draft:  # noqa: ASYNC110 - the disk sends no event
        await asyncio.sleep(0)


async def test_a_text_is_loaded_once_and_written_soon_if_it_has_changed(store):
    await store.save_draft("a", "old", "")

    async def replace_draft(session_id: str, text: str) -> None:
        await store.save_draft(session_id, text, await store.draft(session_id))

    save = AsyncMock(side_effect=replace_draft)
    texts = SessionTexts(store.draft, save)
    assert await texts.load("a") == "old"
    for letters in ("n", "ne", "new"):
        texts.change("a", letters)
    assert await texts.load("a") == texts.text("a") == "new"
    await is_on_disk(store, "a", "new")
    assert save.await_count == 1
    texts.change("a", "")
    await texts.write()
    await texts.write()
    assert await store.draft("a") == ""
    assert save.await_count == 2
    is_saving = asyncio.Event()
    gate = asyncio.Event()

    async def replace_slowly(session_id: str, text: str) -> None:
        is_saving.set()
        await gate.wait()
        await replace_draft(session_id, text)

    save.side_effect = replace_slowly
    texts.change("a", "b")
    await is_saving.wait()
    texts.change("a", "by")
    gate.set()
    await is_on_disk(store, "a", "by")

    async def read_late(session_id: str) -> str:
        late.change(session_id, "typed meanwhile")
        return "old"

    late = SessionTexts(read_late, replace_draft)
    assert await late.load("a") == "typed meanwhile"


async def test_a_text_is_on_the_disk_soon_after_the_end_of_an_import_without_another_key(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(opening, "BUSY_S", 0.02)

    async def replace_draft(session_id: str, text: str) -> None:
        await store.save_draft(session_id, text, await store.draft(session_id))

    save = AsyncMock(side_effect=replace_draft)
    texts = SessionTexts(store.draft, save, retry_s=0.01)
    await store.open()
    with closing(sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        texts.change("a", "pasted")
        await until(lambda: save.await_count > 2, "more attempts")
        assert texts.unwritten() == {"a": "pasted"}
    await is_on_disk(store, "a", "pasted")
    await until(lambda: not texts.unwritten(), "the last attempt")


async def test_a_prompt_that_waits_is_no_less_unwritten_where_its_draft_cannot_be_read(store):
    chat = ChatTurns(store)
    drafts = chat.sessions.drafts
    read = store.draft
    drafts._read = AsyncMock(side_effect=StoreUnavailable("no"))
    chat.session.queue.add(PendingPrompt(draft="waiting"))
    assert not await drafts.write()
    assert drafts.unwritten() == {chat.session.session_id: "waiting"}
    drafts._read = read
    assert await drafts.write()
    assert drafts.unwritten() == {}


async def test_a_sent_or_queued_prompt_stays_in_the_draft_until_it_is_a_row(store):
    turns = ChatTurns(store, answer_steps("Lettuce."), answer_steps())
    session_id = turns.session.session_id
    gate = hold(store, "append")
    turns.sessions.drafts.change(session_id, "next")
    for text in ("What grows?", "And then?"):
        turns.sessions.send(turns.session, PendingPrompt(draft=text))
    await turns.until(MessageAdded)
    await is_on_disk(store, session_id, "What grows?\n\nAnd then?\n\nnext")
    gate.set()
    await turns.until(AnswerStarted)
    gate.clear()
    await is_on_disk(store, session_id, "And then?\n\nnext")
    gate.set()
    await turns.wait()
    await is_on_disk(store, session_id, "next")


async def test_a_prompt_that_the_disk_refused_is_a_row_before_it_leaves_the_draft(store):
    turns = ChatTurns(store, answer_steps("Lettuce."))
    session_id = turns.session.session_id
    append = store.append
    gate = asyncio.Event()

    async def refuse(*_) -> None:
        await gate.wait()
        raise StoreUnavailable("locked")

    store.append = refuse
    turns.sessions.send(turns.session, PendingPrompt(draft="What grows?"))
    await is_on_disk(store, session_id, "What grows?")
    gate.set()
    await turns.wait()
    assert not await turns.sessions.drafts.write()
    assert await store.draft(session_id) == "What grows?"
    store.append = append  # the disk works again, and nothing is said of it
    await is_on_disk(store, session_id, "")  # with the prompt, before the answer
    await turns.sessions.save_queue.write_unsaved()
    assert [message.text for message in await turns.on_disk()] == ["What grows?", "Lettuce."]


async def test_a_prompt_that_has_become_a_message_is_not_written_as_draft_again(store):
    turns = ChatTurns(store, answer_steps("Lettuce."))
    drafts = turns.sessions.drafts
    session_id = turns.session.session_id
    drafts.change(session_id, "What grows?")
    await drafts.write()
    append = store.append
    written = []

    async def append_and_write(*prompt):
        await append(*prompt)
        store.save_draft = AsyncMock()  # from here on
        written.append(asyncio.create_task(drafts.write()))

    store.append = append_and_write
    drafts.change(session_id, "")
    turns.sessions.send(turns.session, PendingPrompt(draft="What grows?"))
    await turns.wait()
    await asyncio.gather(*written)
    store.save_draft.assert_not_awaited()


async def type_in(chat: ChatService, text: str) -> None:
    chat.drafts.change(chat.active.session_id, text)
    await chat.drafts.write()


async def test_no_lmchat_overwrites_the_draft_of_another_and_the_next_one_gets_them_all(tmp_path):
    async with (
        aclosing(store_at(tmp_path)) as first,
        aclosing(store_at(tmp_path)) as second,
    ):
        ours = ChatTurns(first).sessions
        theirs = ChatTurns(second).sessions
        for chat, text in ((ours, "ours"), (theirs, "theirs"), (ours, "ours, too")):
            await type_in(chat, text)
        assert await ChatTurns(second).sessions.drafts.restore() == ""
    for _ in range(2):
        async with aclosing(store_at(tmp_path)) as store:
            later = ChatTurns(store).sessions
            assert await later.drafts.restore() == "theirs\n\nours, too"
            assert await store.draft(later.active.session_id) == "theirs\n\nours, too"
    assert not list(tmp_path.rglob("*-window-*"))


WINDOW = """
import asyncio, sys
from pathlib import Path
from lmchat.core.storage.store import Store

async def main():
    store = Store(Path(sys.argv[1]))
    await store.save_draft("theirs", "typed there", "")
    print("saved", flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def test_a_draft_is_taken_when_its_process_was_killed_and_not_before(tmp_path, store):
    window = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WINDOW, tmp_path / "sessions.db", stdin=PIPE, stdout=PIPE
    )
    assert window.stdout is not None
    assert (await window.stdout.readline()).strip() == b"saved"
    assert await ChatTurns(store).sessions.drafts.restore() == ""
    window.kill()
    await window.wait()
    chat = ChatTurns(store).sessions
    await type_in(chat, "typed here")
    assert await chat.drafts.restore() == "typed there"
    await chat.drafts.write()
    assert await store.draft(chat.active.session_id) == "typed there\n\ntyped here"
    assert len(list(tmp_path.glob("*-window-*"))) == 1


async def test_what_a_window_shows_at_its_end_is_on_the_disk_whatever_another_one_did(tmp_path):
    for theirs, left in (
        ("", "ours"),
        ("other", "other\n\nours"),
        ("ours and more", "ours and more\n\nours"),
        ("four tours in hours", "four tours in hours\n\nours"),
        ("more\n\nours\n\nand more", "more\n\nours\n\nand more"),
    ):
        folder = tmp_path / (theirs or "cleared")
        async with (
            aclosing(store_at(folder)) as first,
            aclosing(store_at(folder)) as second,
        ):
            session, _ = await start_session(first, "Plan the garden")
            windows = [ChatTurns(store).sessions for store in (first, second)]
            for chat in windows:
                open_sessions = chat.open_sessions
                session_id = session.session_id
                open_sessions.switch_to(await open_sessions.find_or_load(session_id))
            await type_in(windows[0], "ours")
            await windows[1].drafts.load(session.session_id)
            await type_in(windows[1], theirs)
            await windows[0].drafts.write_at_end()
            assert await first.draft(session.session_id) == left
            await windows[1].drafts.write_at_end()
            assert await first.draft(session.session_id) == left
            assert windows[0].drafts.unwritten() == {}


async def test_two_windows_with_one_session_each_change_their_own_part_of_its_draft(tmp_path):
    async with (
        aclosing(store_at(tmp_path)) as first,
        aclosing(store_at(tmp_path)) as second,
    ):
        session, _ = await start_session(first, "Plan the garden")
        other, _ = await start_session(first, "Another")
        ours = ChatTurns(first).sessions
        theirs = ChatTurns(second).sessions
        for chat in (ours, theirs):
            chat.open_sessions.switch_to(await chat.open_sessions.find_or_load(session.session_id))
            await chat.drafts.load(session.session_id)
        for chat, text, draft in (
            (ours, "peas", "peas"),
            (theirs, "b", "peas\n\nb"),
            (ours, "peas and\n\nbeans", "peas and\n\nbeans\n\nb"),
            (theirs, "beans", "peas and\n\nbeans\n\nbeans"),
            (ours, "peas", "peas\n\nbeans"),
            (theirs, "", "peas"),  # sent
            (theirs, "leeks", "peas\n\nleeks"),
            (ours, "", "leeks"),
            (ours, "kale", "leeks\n\nkale"),
        ):
            await type_in(chat, text)
            assert await first.draft(session.session_id) == draft
        ours.open_sessions.switch_to(await ours.open_sessions.find_or_load(other.session_id))
        for chat in (ours, theirs):
            await chat.drafts.write_at_end()
        assert await first.draft(session.session_id) == "leeks\n\nkale"
    async with aclosing(store_at(tmp_path)) as store:
        later = ChatTurns(store).sessions
        await later.drafts.load(session.session_id)
        later.drafts.change(session.session_id, "leeks")
        await later.drafts.write()
        assert await store.draft(session.session_id) == "leeks"


async def test_a_prompt_that_waits_is_saved_with_the_draft_also_where_nothing_was_typed(store):
    chat = ChatTurns(store)
    chat.session.queue.add(PendingPrompt(draft="waiting"))
    await is_on_disk(store, chat.session.session_id, "waiting")
