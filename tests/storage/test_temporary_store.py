"""The store of `--temporary`: every method of the protocol works, and leaves the disk as it was."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing, closing, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ReasoningPart
from lmchat.errors import SessionNotFound, StoreUnavailable, WrongUse
from lmchat.storage.session_rows import SessionRows
from lmchat.storage.store import SqliteStore
from lmchat.storage.unsaved import UnsavedStore
from tests.support.chats import (
    FIGURES,
    Clock,
    answer,
    begin_session,
    chat,
    header,
    prompt,
    reply,
    say,
    store_at,
)

MARK = "zebrafinch"


async def saved_chat(folder):
    """Write a session of two prompts and answers, and return it with all its messages."""
    async with aclosing(store_at(folder)) as store:
        session, asked = await begin_session(store, "Which vegetables?")
        said = await reply(store, session, "Lettuce.", asked)
        again = await say(store, session, "And herbs?", said)
        await reply(store, session, "Basil.", again)
        await store.save_draft(session.session_id, "An old draft")
        return await store.open_session(session.session_id)


@pytest.fixture
async def saved(tmp_path):
    return await saved_chat(tmp_path)


@pytest.fixture
async def unsaved(tmp_path, saved):
    store = UnsavedStore(store_at(tmp_path), clock=Clock())
    yield store
    await store.aclose()


class ReadStore(SqliteStore):
    """A store that tells when a session was read to be copied."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.was_read = asyncio.Event()

    async def session_rows(self, session_id: str) -> SessionRows:
        rows = await super().session_rows(session_id)
        self.was_read.set()
        return rows


def marked_files(folder):
    """Return the files below a folder with the word of the temporary chat."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if MARK.encode() in path.read_bytes()]


def rows_on_disk(folder):
    """Return all rows of the saved sessions."""
    with closing(sqlite3.connect(folder / "lmchat" / "sessions.db")) as raw:
        tables = ("sessions", "messages", "parts", "drafts", "metrics")
        return {name: raw.execute(f"select * from {name}").fetchall() for name in tables}  # noqa: S608


async def test_a_copy_is_changed_in_every_way_and_the_disk_in_none(tmp_path, saved, unsaved):
    before, session_id = rows_on_disk(tmp_path), saved.header.session_id
    assert await unsaved.open() == ""
    assert await unsaved.list_sessions() == (saved.header,)
    assert await unsaved.draft(session_id) == "An old draft"
    opened = await unsaved.open_session(session_id)
    assert opened == saved
    asked = await say(unsaved, opened.header, f"And {MARK}?", opened.messages[-1])
    begun = answer(ReasoningPart(text="Hm."), "Seed.", parent=asked)
    await unsaved.begin_answer(session_id, replace(begun, parts=(), state=AnswerState.STREAMING))
    await unsaved.add_pieces(begun.message_id, [("text", "wrong"), ("anew", ""), ("text", "Se")])
    assert (await unsaved.open_session(session_id)).messages[-1].text == "Se"
    await unsaved.finish(session_id, begun)
    await unsaved.update_session(session_id, {"title": MARK, "tags": (MARK,), "is_pinned": True})
    assert await unsaved.find(session_id[:6]) == await unsaved.find("last") == session_id
    await unsaved.set_excluded(session_id, [begun.message_id], is_excluded=True)
    path = (await unsaved.open_session(session_id)).messages
    assert [one.is_excluded for one in path] == [*[False] * 5, True]
    assert await unsaved.has_message(begun.message_id)
    assert [one.text for one in (await unsaved.tree(session_id))[-2:]] == [f"And {MARK}?", "Seed."]
    older, _ = await unsaved.read_back(session_id, asked.message_id, count=2)
    assert older[-1].message_id == asked.message_id
    assert await unsaved.token_choices(begun.message_id) == ()
    assert await unsaved.read_file(await unsaved.save_file(MARK.encode())) == MARK.encode()
    with pytest.raises(StoreUnavailable, match="is missing"):
        await unsaved.read_file("0" * 64)
    for key in ("", session_id):
        await unsaved.save_draft(key, MARK)
        assert await unsaved.draft(key) == MARK
    await unsaved.save_bookmark(session_id, MARK)
    assert await unsaved.bookmark(session_id) == MARK
    await unsaved.add_ledger(FIGURES)
    assert list((await unsaved.speeds()).values()) == [40.0]
    forked = await unsaved.fork(session_id, begun.message_id)
    assert [message.text for message in forked.messages][-2:] == [f"And {MARK}?", "Seed."]
    assert [hit.message_id for hit in await unsaved.search(MARK)][-1] == asked.message_id
    await unsaved.delete_message(session_id, asked.message_id)
    assert await unsaved.last_deleted_message(session_id) == asked.message_id
    assert len((await unsaved.restore_message(session_id, asked.message_id)).messages) == 6
    other = prompt(f"No {MARK}", saved.messages[-1])
    await unsaved.append_branch(saved.header, [other, answer(MARK, parent=other)])
    assert len((await unsaved.set_leaf(session_id, other.message_id)).messages) == 6
    titles = [header.title for header in await unsaved.list_sessions()]
    assert sorted(titles) == [MARK, MARK]
    assert f"And {MARK}?" in await unsaved.prompt_history()
    with pytest.raises(WrongUse, match="it cannot import"):
        await unsaved.import_session(chat(MARK))
    assert await unsaved.daily_check() == ""
    await unsaved.update_session(session_id, {"deleted_at": Clock()()})
    trash = await unsaved.list_sessions(is_trash=True)
    assert [header.session_id for header in trash] == [session_id]
    with pytest.raises(WrongUse, match="cannot delete saved sessions"):
        await unsaved.purge(session_id)
    await unsaved.purge(forked.header.session_id)
    assert await unsaved.list_sessions() == ()
    assert (marked_files(tmp_path), rows_on_disk(tmp_path)) == ([], before)
    await unsaved.aclose()
    assert (marked_files(tmp_path), rows_on_disk(tmp_path)) == ([], before)
    names = {path.name for path in (tmp_path / "lmchat").iterdir()}
    assert {name.partition(".backup-")[0] for name in names} == {"sessions.db"}


async def test_each_change_of_a_saved_session_is_made_in_a_copy(tmp_path, saved):
    before, session_id = rows_on_disk(tmp_path), saved.header.session_id
    first, *_, last = (message.message_id for message in saved.messages)
    begun = replace(answer(parent=saved.messages[-1], state=AnswerState.STREAMING), parts=())
    for change in (
        lambda store: store.update_session(session_id, {"title": MARK}),
        lambda store: store.set_excluded(session_id, [last], is_excluded=True),
        lambda store: store.set_leaf(session_id, first),
        lambda store: store.delete_message(session_id, last),
        lambda store: store.restore_message(session_id, last),
        lambda store: store.fork(session_id, last),
        lambda store: store.begin_answer(session_id, begun),
        lambda store: store.finish(session_id, answer(MARK, parent=saved.messages[-1])),
    ):
        async with aclosing(UnsavedStore(store_at(tmp_path))) as unsaved:
            await change(unsaved)
            assert (marked_files(tmp_path), rows_on_disk(tmp_path)) == ([], before)


async def test_a_copy_has_the_deleted_messages_and_the_place_of_its_session(tmp_path, saved):
    session_id, last = saved.header.session_id, saved.messages[2].message_id
    async with aclosing(store_at(tmp_path)) as store:
        await store.save_bookmark(session_id, "here")
        await store.delete_message(session_id, last)
        async with aclosing(UnsavedStore(store)) as unsaved:
            assert len((await unsaved.restore_message(session_id, last)).messages) == 4
            assert await unsaved.bookmark(session_id) == "here"
            assert len((await store.open_session(session_id)).messages) == 2


async def test_a_change_that_is_stopped_while_its_session_is_copied_can_be_made_again(
    tmp_path, saved
):
    session_id = saved.header.session_id
    on_disk = ReadStore(tmp_path / "lmchat" / "sessions.db")
    async with aclosing(UnsavedStore(on_disk)) as unsaved:
        changing = asyncio.ensure_future(unsaved.update_session(session_id, {"title": "Dill"}))
        await on_disk.was_read.wait()  # the copy is being written into memory
        changing.cancel()
        with suppress(asyncio.CancelledError):
            await changing
        assert (await unsaved.update_session(session_id, {"title": MARK})).title == MARK


async def test_an_answer_that_streams_elsewhere_is_copied_with_what_has_arrived(tmp_path, saved):
    session_id = saved.header.session_id
    async with aclosing(store_at(tmp_path)) as store:
        begun = replace(answer(parent=saved.messages[-1], state=AnswerState.STREAMING), parts=())
        await store.begin_answer(session_id, begun)
        await store.add_pieces(begun.message_id, [("text", "Dill")])
        async with aclosing(
            UnsavedStore(SqliteStore(tmp_path / "lmchat" / "sessions.db"))
        ) as unsaved:
            forked = await unsaved.fork(session_id, begun.message_id)
        last = forked.messages[-1]
        assert (last.text, last.state) == ("Dill", AnswerState.INTERRUPTED)


async def test_a_new_session_begins_without_a_look_at_the_disk(tmp_path):
    async with aclosing(UnsavedStore(store_at(tmp_path))) as unsaved:
        session, asked = await begin_session(unsaved, MARK)
        await reply(unsaved, session, "Seed.", asked)
        assert (await unsaved.open_session(session.session_id)).messages[-1].text == "Seed."
        assert list(tmp_path.iterdir()) == []


async def test_searching_finds_as_many_saved_messages_though_copies_hide_some(tmp_path, unsaved):
    async with aclosing(store_at(tmp_path)) as store:
        sessions = [(await begin_session(store, "Sow peas"))[0].session_id for _ in range(6)]
    for session_id in sessions[-3:]:
        await unsaved.update_session(session_id, {"deleted_at": Clock()()})
    hits = await unsaved.search("peas", limit=3)
    assert [hit.session_id for hit in hits] == sessions[2::-1]


async def test_after_the_end_a_call_is_refused_with_one_sentence(unsaved):
    await unsaved.save_draft("", MARK)
    await unsaved.append(header(MARK), prompt(MARK))
    await unsaved.aclose()
    with pytest.raises(StoreUnavailable, match="lmchat is quitting"):
        await unsaved.append(header(MARK), prompt(MARK))
    with pytest.raises((StoreUnavailable, SessionNotFound)):
        await unsaved.open_session("0" * 16)
