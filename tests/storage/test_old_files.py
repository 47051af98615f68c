"""A file of format 3, written by lmchat at commit 0faa866, with two answers whose process was killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lmchat.domain.message import AnswerState, ReasoningPart, RefusalPart, TextPart, ToolCallPart
from tests.support.chats import START, Clock, faults_in, store_at

DATA = Path(__file__).parent / "data" / "format_3"
TREE = "tree00000001"


@pytest.fixture
async def old(tmp_path):
    home = tmp_path / "lmchat"
    home.mkdir()
    for file in DATA.iterdir():
        shutil.copy(file, home)
    store = store_at(tmp_path, Clock(START))
    yield store
    await store.aclose()


def said(messages):
    return [message.text for message in messages]


async def test_the_sessions_are_listed_as_they_were(old):
    assert await old.open() == ""
    listed = await old.list_sessions()
    assert listed[0].title == "Locks in C++"
    assert (listed[0].tags, listed[0].is_pinned, listed[0].message_count) == (
        ("code", "c++"),
        True,
        8,
    )
    assert {one.title for one in listed} >= {"What weighs a zeppelin?", "Tell me a long story"}
    assert [one.title for one in listed if one.is_archived] == ["Old news about trains"]
    assert [one.parent_id for one in listed if one.parent_id] == ["plain0000001"]
    assert [one.title for one in await old.list_sessions(is_trash=True)] == ["Thrown away zeppelin"]


async def test_a_tree_has_its_branches_versions_and_parts(old):
    session = await old.open_session(TREE)
    shown = ["t-system", "t-ask", "t-answer-2", "t-more", "t-refused"]
    assert [one.message_id for one in session.messages] == shown
    second = session.messages[2]
    assert (second.version, second.versions) == (2, 2)
    assert isinstance(second.parts[1], ToolCallPart)
    assert second.parts[1].arguments == '{"file": "mutex.cpp"}'
    assert second.receipt.tokens_per_second == 41.5
    assert session.messages[4].parts == (RefusalPart(text="I will not translate that."),)
    assert await old.branch_names(TREE) == {"t-other": "rust"}
    other = await old.set_leaf(TREE, "t-failed")
    assert isinstance(other.messages[2].parts[0], ReasoningPart)
    last = other.messages[-1]
    assert (last.state, last.failure.kind) == (AnswerState.INTERRUPTED, "stream_interrupted")
    assert await old.last_deleted_message(TREE) == "t-gone"
    restored = await old.restore_message(TREE, "t-gone")
    assert said(restored.messages)[-1] == "A question that was deleted: zeppelin"


async def test_answers_of_a_killed_process_are_taken_in(old, tmp_path):
    story = (await old.open_session("running00001")).messages[-1]
    assert story.state is AnswerState.INTERRUPTED
    assert story.parts == (
        ReasoningPart(text="A story, then. "),
        TextPart(text="Once upon a time there was a kraken"),
    )
    adopted = await old.open_session("unknown00001")
    assert said(adopted.messages) == ["An answer without a row."]
    assert not list((tmp_path / "lmchat").glob("*-answer-*"))


async def test_all_that_was_said_is_found(old):
    for query, ids in {
        "mutex": {"t-ask", "t-answer-1", "t-answer-2"},
        "ubergroße": {"t-ask"},
        "日本": {"t-more"},
        "mutex.cpp": {"t-answer-2"},
        "kraken": {"r-answer"},
        "row": {"l-answer"},
        "title:locks has:code": {"t-answer-1"},
    }.items():
        assert {hit.message_id for hit in await old.search(query)} == ids, query


async def test_it_is_written_to(old, tmp_path):
    session = await old.open_session("plain0000001")
    copy = await old.fork("plain0000001", session.messages[-1].message_id)
    await old.purge("trash0000001")
    assert await old.list_sessions(is_trash=True) == ()
    assert said(copy.messages)[0] == "What weighs a zeppelin?"
    assert faults_in(tmp_path / "lmchat" / "sessions.db") == ""
