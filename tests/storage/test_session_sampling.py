"""The session's own sampling options: saved, copied and changed like title and tags."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing

from msgspec.structs import replace

from lmchat.storage.unsaved import UnsavedStore
from tests.support.chats import begin_session, header, prompt, store_at

OPTIONS = {"top_k": 20, "stop": ["\n\n", "ä"], "logit_bias": {"15043": -2.5}, "extra.x": None}


async def test_options_are_there_after_reopening_as_they_were_set(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:
        session, _ = await begin_session(store, "Which vegetables?")
        changed = await store.update_session(session.session_id, {"sampling": OPTIONS})
        assert changed.sampling == OPTIONS
    async with aclosing(store_at(tmp_path)) as store:
        assert (await store.list_sessions())[0].sampling == OPTIONS
        taken_back = await store.update_session(session.session_id, {"sampling": {}})
        assert taken_back.sampling == {}


async def test_a_new_session_is_saved_with_its_options_and_a_later_message_keeps_newer_ones(store):
    session = replace(header("Garden"), sampling=OPTIONS)
    first = prompt("Which vegetables?")
    await store.append(session, first)
    assert (await store.open_session(session.session_id)).header.sampling == OPTIONS
    await store.update_session(session.session_id, {"sampling": {"seed": 7}})
    await store.append(session, prompt("And herbs?", first))
    assert (await store.open_session(session.session_id)).header.sampling == {"seed": 7}


async def test_a_fork_has_the_options_of_its_session_and_changes_its_own(store):
    session, asked = await begin_session(store, "Which vegetables?")
    await store.update_session(session.session_id, {"sampling": OPTIONS})
    fork = await store.fork(session.session_id, asked.message_id)
    assert fork.header.sampling == OPTIONS
    await store.update_session(fork.header.session_id, {"sampling": {"seed": 7}})
    assert (await store.open_session(session.session_id)).header.sampling == OPTIONS


async def test_a_temporary_chat_has_the_saved_options_and_saves_no_change(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:
        session, _ = await begin_session(store, "Which vegetables?")
        await store.update_session(session.session_id, {"sampling": OPTIONS})
    async with aclosing(UnsavedStore(store_at(tmp_path))) as unsaved:
        assert (await unsaved.open_session(session.session_id)).header.sampling == OPTIONS
        changed = await unsaved.update_session(session.session_id, {"sampling": {"seed": 7}})
        assert changed.sampling == {"seed": 7}
    async with aclosing(store_at(tmp_path)) as store:
        assert (await store.open_session(session.session_id)).header.sampling == OPTIONS


async def test_damaged_options_do_not_cost_the_session(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:
        await begin_session(store, "Which vegetables?")
    for damaged in ('{"top_k": 2', "[1]", b"\xff"):
        with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as raw, raw:
            raw.execute("update sessions set sampling = ?", (damaged,))
        async with aclosing(store_at(tmp_path)) as store:
            (listed,) = await store.list_sessions()
            assert (listed.title, listed.sampling) == ("Which vegetables?", {})
