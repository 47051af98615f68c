"""Files of running answers whose head is wrong on purpose, and what others put in their place."""

from __future__ import annotations

import os
import stat

import pytest

from lmchat.domain.message import AnswerState
from lmchat.storage.running_answer import answer_path, read_answer
from tests.support.chats import answer, header, say, store_at

REST = (
    b'"message_id": "m", "parent_id": null, "created_at": "2026-01-01T00:00:00+14:00", "model": "m", '
    b'"endpoint": "e"}\n[["text", "hi"]]\n'
)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"{", b"[]\n", b"\xff\xff\xff", b"\0" * 5000),
        b'{"session_id": "\\ud800", ' + REST,
        b'{"session_id": "s", ' + REST.replace(b"2026", b"0001"),
    ],
)
async def test_a_damaged_file_of_an_answer_keeps_no_session_from_being_opened(tmp_path, store, content):
    session = header()
    await say(store, session, "hello")
    answer_path(tmp_path / "lmchat" / "sessions.db", "abc").write_bytes(content)
    assert await _last(tmp_path, session) == (AnswerState.COMPLETE, "hello")


@pytest.mark.parametrize("planted", ["link", "pipe", "open to all", "link to nothing"])
async def test_what_stands_in_the_place_of_an_answer_file_is_neither_written_nor_waited_for(
    tmp_path, store, planted
):
    session = header()
    said = answer(parent=await say(store, session, "hello"), state=AnswerState.STREAMING)
    path, elsewhere = answer_path(tmp_path / "lmchat" / "sessions.db", said.message_id), tmp_path / "precious"
    if planted == "pipe":
        os.mkfifo(path)
    elif planted == "open to all":
        path.write_text("x")
        path.chmod(0o666)
    else:
        path.symlink_to(elsewhere)
    if planted == "link":
        elsewhere.write_text("precious")
    await store.begin_answer(session.session_id, said)
    await store.add_pieces(said.message_id, [("text", "hi")])
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert path.is_file()
    assert not path.is_symlink()
    assert read_answer(path)[1] == [("text", "hi")]
    assert (elsewhere.read_text() if elsewhere.exists() else "") == ("precious" if planted == "link" else "")


async def test_an_answer_whose_file_cannot_be_read_gets_its_text_once_it_can(tmp_path, store):
    session = header()
    said = answer(parent=await say(store, session, "hello"), state=AnswerState.STREAMING)
    await store.begin_answer(session.session_id, said)
    await store.add_pieces(said.message_id, [("text", "precious")])
    path = answer_path(tmp_path / "lmchat" / "sessions.db", said.message_id)
    content = path.read_bytes()
    path.unlink()
    path.symlink_to(path.name)  # even root cannot read that
    for _ in range(2):
        assert await _last(tmp_path, session) == (AnswerState.STREAMING, "")
    path.unlink()
    path.write_bytes(content)
    assert await _last(tmp_path, session) == (AnswerState.INTERRUPTED, "precious")
    assert not path.exists()


async def test_an_answer_that_is_too_long_to_be_read_is_left_as_it_is(tmp_path, store):
    session = header()
    said = answer(parent=await say(store, session, "hello"), state=AnswerState.STREAMING)
    await store.begin_answer(session.session_id, said)
    path = answer_path(tmp_path / "lmchat" / "sessions.db", said.message_id)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 31)
    assert (await _last(tmp_path, session))[0] is AnswerState.STREAMING
    assert path.exists()


async def _last(folder, session):
    other = store_at(folder)
    try:
        message = (await other.open_session(session.session_id)).messages[-1]
    finally:
        await other.aclose()
    return message.state, message.text
