"""The store of `--temporary`: every method of the protocol works, and leaves the disk as it was."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing

import pytest
from msgspec.structs import replace

from lmchat.errors import StoreUnavailable, WrongUse
from lmchat.sessions.message import AnswerState, ReasoningPart
from lmchat.storage.unsaved import UnsavedStore
from tests.support.chats import (
    FIGURES,
    Clock,
    answer,
    begin_session,
    chat,
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
    await unsaved.add_entries(begun.message_id, [("text", "wrong"), ("anew", ""), ("text", "Se")])
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
    await unsaved.add_turn_record(FIGURES)
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
