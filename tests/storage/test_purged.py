"""What is purged can no longer be read in any file, not only not in the list."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from lmchat.domain.message import AnswerState
from lmchat.storage import database as connections
from tests.support.chats import answer, header, reply, say, store_at

SAID = "Xylophonschlegel"
"""With a capital: the indexes hold words without, and forget them little by little."""


def files_with(folder, word):
    return [path.name for path in sorted((folder / "lmchat").iterdir()) if word.encode() in path.read_bytes()]


async def test_no_file_holds_the_texts_of_a_purged_session_while_lmchat_still_runs(tmp_path, store):
    session, other = header(), header("other")
    asked = await say(store, session, f"{SAID} {'x' * 3000}")
    await reply(store, session, f"A {SAID.lower()} indeed: {SAID}", asked)
    running = answer(parent=asked, state=AnswerState.STREAMING)
    await store.begin_answer(session.session_id, running)
    await store.add_pieces(running.message_id, [("text", f"more of {SAID}")])
    await store.save_draft(session.session_id, f"draft of {SAID}")
    kept = await say(store, other, "this one stays")
    assert len(await store.search(SAID)) == 3
    assert files_with(tmp_path, SAID)
    await store.purge(session.session_id)
    assert files_with(tmp_path, SAID) == []
    assert (await store.open_session(other.session_id)).messages == (kept,)
    await say(store, other, "and goes on", kept)


async def test_a_purge_beside_another_window_that_reads_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "BUSY_S", 0.1)
    store, session = store_at(tmp_path), header()
    await say(store, session, SAID)
    with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as other:
        rows = other.execute("select text from parts")
        rows.fetchone()  # in the middle of its work, as a long search is
        await store.purge(session.session_id)
        assert await store.list_sessions() == ()
        rows.close()
    await store.purge(session.session_id)
    assert files_with(tmp_path, SAID) == []
    await store.aclose()
