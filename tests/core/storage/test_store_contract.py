"""Every method of `Store` in a temporary chat, which leaves the disk as it was."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing
from functools import wraps
from inspect import isfunction

import pytest
from msgspec.structs import replace

from lmchat.base.errors import SessionNotFound, StoreUnavailable
from lmchat.core.sessions.message import AnswerState, FilePart, ReasoningPart
from lmchat.core.sessions.tokens import TokenProbabilities
from lmchat.core.storage.store import Store
from tests.support.chats import (
    Clock,
    answer,
    chat,
    chat_with_tools,
    header,
    prompt,
    reply,
    say,
    start_session,
    store_at,
)

MARK = "zebrafinch"
OF_FILES = {"check", "backups", "replace_damaged"}  # that are damaged
METHODS = {name for name, value in vars(Store).items() if isfunction(value) and name[0] != "_"}
METHODS -= OF_FILES


@pytest.fixture
async def saved(tmp_path):
    """A session of two prompts and answers, and a draft, in a store that is closed."""
    async with aclosing(store_at(tmp_path)) as store:
        session, asked = await start_session(store, "Which vegetables?")
        said = await reply(store, session, "Lettuce.", asked)
        again = await say(store, session, "And herbs?", said)
        await reply(store, session, "Basil.", again)
        await store.save_draft(session.session_id, "An old draft", "")
        return await store.open_session(session.session_id)


def marked_files(folder):
    """Return the files below a folder with the word of the temporary chat."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if MARK.encode() in path.read_bytes()]


def rows_on_disk(folder):
    """Return all rows of the saved sessions."""
    with closing(sqlite3.connect(folder / "lmchat" / "sessions.db")) as raw:
        tables = ("sessions", "messages", "parts", "drafts")
        return {name: raw.execute(f"select * from {name}").fetchall() for name in tables}  # noqa: S608


def note_calls(store, called):
    """Let a store note the names of the methods that are called."""

    def noting(name, method):
        @wraps(method)
        def call(*args, **options):
            called.add(name)
            return method(*args, **options)

        return call

    for name in METHODS:
        setattr(store, name, noting(name, getattr(store, name)))


async def use_every_method(store, saved):
    """Call the methods that a temporary chat has, and check what they return."""
    session_id = saved.header.session_id
    assert await store.list_sessions() == (saved.header,)
    assert await store.draft(session_id) == "An old draft"
    opened = await store.open_session(session_id)
    assert opened == saved
    asked = await say(store, opened.header, f"And {MARK}?", opened.messages[-1])
    started = answer(ReasoningPart(text="Hm."), "Seed.", parent=asked)
    await store.start_answer(session_id, replace(started, parts=(), state=AnswerState.STREAMING))
    await store.add_entries(started.message_id, [("text", "Se")])
    running = (await store.open_session(session_id)).messages[-1]
    assert running.state == AnswerState.STREAMING
    await store.end_answer(session_id, started)
    await store.update_session(session_id, {"title": MARK, "tags": (MARK,), "is_pinned": True})
    assert await store.find_id("last") == session_id
    await store.set_excluded(session_id, [started.message_id], is_excluded=True)
    assert (await store.tree(session_id))[-1] == replace(started, is_excluded=True)
    older, _ = await store.read_path(session_id, asked.message_id, count=2)
    assert older[-1].message_id == asked.message_id
    assert await store.token_probabilities(started.message_id) == ()
    assert await store.files.read(await store.files.save(MARK.encode())) == MARK.encode()
    with pytest.raises(StoreUnavailable, match="is missing"):
        await store.files.read("0" * 64)
    for key in ("new", session_id):
        await store.save_draft(key, MARK, await store.draft(key))
    assert await store.take_drafts("newer") == MARK
    assert [await store.draft(key) for key in ("new", "newer")] == ["", MARK]
    assert await store.take_drafts("newer") == ""  # its own draft is not taken
    await store.save_draft("third", "typed", "")
    assert await store.take_drafts("third") == MARK
    assert await store.draft("third") == f"{MARK}\n\ntyped"
    await store.save_bookmark(session_id, MARK)
    assert await store.bookmark(session_id) == MARK
    forked = await store.fork(session_id, started.message_id)
    assert forked.messages[-1].text == "Seed."
    assert {hit.message_id for hit in await store.search(MARK)} >= {asked.message_id}
    await store.delete_message(session_id, asked.message_id)
    assert await store.last_deleted_id(session_id) == asked.message_id
    assert len((await store.restore_message(session_id, asked.message_id)).messages) == 6
    other = prompt(f"No {MARK}", saved.messages[-1])
    await store.append_branch(saved.header, [other, answer(MARK, parent=other)])
    assert len((await store.choose_path_through(session_id, other.message_id)).messages) == 6
    assert f"And {MARK}?" in await store.prompt_history()
    await store.update_session(session_id, {"deleted_at": Clock()()})
    assert len(await store.list_sessions(is_trash=True)) == 1
    await store.update_session(session_id, {"deleted_at": None})
    assert await store.deleted_message_count() == 0
    assert await store.are_visible([asked.message_id])
    store.keep_locked({session_id})
    await store.drop_answers(with_saved_prompts=True)
    await store.daily_check()
    assert store.notice == ""


async def test_every_method_works_in_a_temporary_chat_and_leaves_the_disk_as_it_was(
    tmp_path, saved
):
    before = rows_on_disk(tmp_path)
    called = set()
    async with aclosing(store_at(tmp_path)) as on_disk, aclosing(Store(clock=Clock())) as store:
        note_calls(store, called)
        assert await store.open() == ""
        assert (await store.list_sessions(), await store.search("vegetables")) == ((), ())
        assert await store.prompt_history() == ()
        with pytest.raises(SessionNotFound):
            await store.take_session(on_disk, "abcd")
        assert await store.take_session(on_disk, "last") == saved.header.session_id
        assert await on_disk.take_session(on_disk, "last") == saved.header.session_id
        await use_every_method(store, saved)
        assert (await store.import_session(chat(MARK))).is_new
        await store.purge(saved.header.session_id)
        with pytest.raises(SessionNotFound):
            await store.open_session(saved.header.session_id)
        assert (marked_files(tmp_path), rows_on_disk(tmp_path)) == ([], before)
        await store.aclose()
    assert called == METHODS
    assert (marked_files(tmp_path), rows_on_disk(tmp_path)) == ([], before)
    names = {path.name for path in (tmp_path / "lmchat").iterdir()}
    assert {name.partition(".backup-")[0] for name in names} == {"sessions.db", ".sessions.db.lock"}


async def test_a_copy_of_a_session_has_all_that_the_session_has_and_nothing_of_another(tmp_path):
    async with aclosing(store_at(tmp_path)) as on_disk, aclosing(Store(clock=Clock())) as copy:
        session = chat_with_tools("Soil.")
        other = header("Another")
        await say(on_disk, other, "Not this one")
        digests = [
            await on_disk.files.save(data) for data in (b"a file", b"of the draft", b"other")
        ]
        asked, *more = session.messages
        file = FilePart(name="f.txt", media_type="text/plain", digest=digests[0], size=6)
        await on_disk.append(session.header, replace(asked, parts=(file, *asked.parts)))
        for message in more:
            await on_disk.append(session.header, message)
        session_id = session.header.session_id
        last = more[-1]
        choices = (TokenProbabilities(token="You", logprob=-0.1, text="You"),)  # noqa: S106 - a part of a text
        await on_disk.end_answer(session_id, last, choices)
        hidden = await say(on_disk, session.header, "Deleted", last)
        await on_disk.delete_message(session_id, hidden.message_id)
        running = answer(parent=last, state=AnswerState.STREAMING)
        await on_disk.start_answer(session_id, running)
        await on_disk.save_draft(session_id, f"[x] {digests[1]}", "")
        await on_disk.save_bookmark(session_id, "here")
        changes = {"tags": ("t",), "sampling": {"top_k": 3}, "is_pinned": True}
        await on_disk.update_session(session_id, changes)
        await copy.take_session(on_disk, session_id[:6])
        for read in (Store.draft, Store.bookmark, Store.last_deleted_id):
            assert await read(copy, session_id) == await read(on_disk, session_id)
        assert await copy.token_probabilities(last.message_id) == choices
        path = await copy.open_session(session_id)
        saved = await on_disk.open_session(session_id)
        assert path.header == saved.header
        assert path.messages[:-1] == saved.messages[:-1]
        assert path.messages[-1].state is AnswerState.INTERRUPTED
        assert await copy.list_sessions() == (saved.header,)
        assert [await copy.files.read(digest) for digest in digests[:2]] == [
            b"a file",
            b"of the draft",
        ]
        with pytest.raises(StoreUnavailable, match="is missing"):
            await copy.files.read(digests[2])
        assert [hit.kind for hit in await copy.search("soil")] == ["tool_result"]
        assert await copy.search("another") == ()
        assert (await copy.restore_message(session_id, hidden.message_id)).messages[-1] == hidden
