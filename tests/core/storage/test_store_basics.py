from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from lmchat.base.errors import SessionNotFound, StoreUnavailable
from lmchat.base.metrics import Metrics
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    Failure,
    FilePart,
    ReasoningPart,
    TextPart,
    ToolCallPart,
)
from lmchat.core.sessions.prompts import split_draft
from lmchat.core.sessions.session import Session
from tests.support.chats import (
    answer,
    header,
    prompt,
    reply,
    say,
    start_session,
    stats_store_at,
    store_at,
)
from tests.support.modes import is_private

HOSTILE = "a\x00b\x1b]0;owned\x07 \ud800 lone \u202e turned \r\n ``` ' \" ; drop table sessions; --"


async def test_what_was_said_is_there_after_reopening_to_the_last_character(tmp_path, store):
    session, asked = await start_session(store, HOSTILE)
    said = answer(
        ReasoningPart(text="hm " + HOSTILE),
        TextPart(text=HOSTILE),
        ToolCallPart(call_id="c1", name="look_up", arguments='{"q": "\ud800'),
        parent=asked,
        state=AnswerState.INTERRUPTED,
    )
    said = replace(
        said,
        model="m\x1b[31m",
        failure=Failure(kind="offline", message=HOSTILE, hint="h", details="d", failure_id="ab12"),
        stats=AnswerStats(
            ttft_ms=1.5, tokens_per_second=42.0, completion_tokens=7, finish_reason="length"
        ),
    )
    await store.start_answer(
        session.session_id, replace(said, parts=(), state=AnswerState.STREAMING)
    )
    await store.end_answer(session.session_id, said)
    await store.aclose()

    async with aclosing(store_at(tmp_path)) as again:
        opened = await again.open_session(session.session_id)
    assert opened.messages == (asked, said)
    assert opened.header.model == "m\x1b[31m"
    assert opened.header.message_count == 2


async def test_each_write_waits_for_the_disk_itself_on_macos_too(store):
    for setting, value in (("synchronous", 2), ("fullfsync", 1)):  # 2 is `full`
        read = partial(value_of, setting)
        assert await store.database.run(read) == value


def value_of(setting, connection):
    (value,) = connection.execute(f"pragma {setting}").fetchone()
    return value


async def test_only_the_owner_may_read_folder_and_files(tmp_path, store):
    await say(store, header(), "hello")
    folder = tmp_path / "lmchat"
    assert is_private(folder)
    assert all(map(is_private, folder.iterdir()))
    assert len(list(folder.iterdir())) == 3  # with -window-… and the lock


async def test_a_renamed_session_keeps_its_name_when_the_talk_goes_on(store):
    session, first = await start_session(store, "One")
    renamed = await store.update_session(session.session_id, {"title": "My own"})
    await say(store, replace(session, title="One"), "Two", first)
    assert renamed.title == "My own"
    assert (await store.open_session(session.session_id)).header.title == "My own"
    assert (await store.update_session(session.session_id, {"title": ""})).title == "One"


async def test_sessions_are_found_by_a_prefix_of_four_and_by_last(store):
    first, second = (
        replace(header(), session_id="abcd000000000001"),
        replace(header(), session_id="abcd100000000002"),
    )
    for session in (first, second):
        await say(store, session, "hello")
    assert await store.find_id("abcd0") == first.session_id
    assert await store.find_id("ABCD1") == second.session_id
    assert await store.find_id("last") == second.session_id
    with pytest.raises(SessionNotFound, match="More than one"):
        await store.find_id("abcd")
    with pytest.raises(SessionNotFound, match="too short"):
        await store.find_id("abc")
    with pytest.raises(SessionNotFound, match="No session id begins"):
        await store.find_id("ab_%")


@pytest.mark.parametrize("ahead", [timedelta(minutes=90), timedelta(hours=5), timedelta(days=3300)])
async def test_what_was_done_with_a_wrong_clock_is_not_taken_for_the_last(store, clock, ahead):
    """As after a flat battery, or a change of the time zone by hand; then the right time again."""
    moment = clock.moment
    times = {"wrong": moment + ahead, "right": moment}
    for name, time in times.items():
        clock.moment = time
        session, message = await start_session(store, f"asked at the {name} time")
        trashed, _ = await start_session(store, f"trash of the {name} time")
        await store.update_session(trashed.session_id, {"deleted_at": clock()})
    assert await store.find_id("last") == session.session_id
    titles = ["asked at the right time", "asked at the wrong time"]
    assert [one.title for one in await store.list_sessions()] == titles
    trash = await store.list_sessions(is_trash=True)
    assert [one.title for one in trash] == ["trash of the right time", "trash of the wrong time"]

    deleted = [await say(store, session, f"deleted at {time}", message) for time in times.values()]
    for one, time in zip(deleted, times.values(), strict=True):
        clock.moment = time
        await store.delete_message(session.session_id, one.message_id)
    assert await store.last_deleted_id(session.session_id) == deleted[1].message_id


async def test_a_restored_or_imported_session_is_listed_where_its_time_was(store, clock):
    old, _ = await start_session(store, "old")
    between = header("imported", moment=clock())
    new, _ = await start_session(store, "new")
    await store.update_session(old.session_id, {"deleted_at": clock()})
    await store.update_session(old.session_id, {"deleted_at": None, "title": "restored"})
    await store.import_session(Session(header=between))
    listed = await store.list_sessions()
    assert [one.title for one in listed] == ["new", "imported", "restored"]
    assert await store.find_id("last") == new.session_id


async def test_a_session_that_is_gone_cannot_be_changed(store):
    with pytest.raises(SessionNotFound):
        await store.update_session("0123456789abcdef", {"title": "x"})


async def test_the_trash_is_not_searched_and_going_on_in_a_session_takes_it_out(store, clock):
    session, first = await start_session(store, "hello")
    await store.update_session(session.session_id, {"deleted_at": clock()})
    assert await store.search("hello") == ()
    await say(store, session, "still here", first)
    assert await store.list_sessions(is_trash=True) == ()
    assert len(await store.search("hello")) == 1


async def test_drafts_are_kept_by_session_and_removed_when_empty(tmp_path, store):
    await store.save_draft("", "not yet begun \ud800", "")
    await store.save_draft("abcd", "one", "")
    await store.save_draft("abcd", "two", "one")
    await store.aclose()
    async with aclosing(store_at(tmp_path)) as again:
        assert (await again.draft(""), await again.draft("abcd")) == ("not yet begun \ud800", "two")
        await again.save_draft("abcd", "", "two")
        assert await again.draft("abcd") == ""


async def test_prompts_are_remembered_newest_first_and_once(store, clock):
    session = header()
    other = header()
    parent = None
    for text in ("one", "two", "one", "three"):
        parent = await say(store, session, text, parent)
        await reply(store, session, "no prompt", parent)
    await say(store, other, "deleted")
    await store.update_session(other.session_id, {"deleted_at": clock()})
    assert await store.prompt_history() == ("three", "one", "two")
    assert await store.prompt_history(limit=2) == ("three", "one")


async def test_an_earlier_prompt_comes_back_with_its_files_in_their_places(store):
    notes = FilePart(name="a.md", media_type="text/plain", digest="a" * 64, size=3, place=4)
    asked = prompt("See\nand say.")
    await store.append(header(), replace(asked, parts=(notes, *asked.parts)))
    [draft] = await store.prompt_history()
    assert split_draft(draft) == ("See\nand say.", [notes])


async def test_counters_of_two_processes_add_up(tmp_path, stats_store):
    other = stats_store_at(tmp_path)
    async with aclosing(other.database):
        await stats_store.count(
            Metrics(total_requests=3, successful_requests=2, total_response_ms=10.5)
        )
        await other.count(Metrics(total_requests=1, total_response_ms=1.0, cache_hits=4))
        assert await stats_store.counters() == Metrics(
            total_requests=4, successful_requests=2, total_response_ms=11.5, cache_hits=4
        )
        await other.reset_counters()
        assert await stats_store.counters() == Metrics()


async def test_a_store_that_is_closed_says_so_and_closing_twice_is_fine(store):
    await store.open()
    await store.aclose()
    await store.aclose()
    for call in (store.list_sessions(), store.search("hello")):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call


async def test_a_write_is_done_although_its_caller_was_cancelled(store):
    session = header()
    await store.open()
    writes = [
        asyncio.create_task(store.append(session, prompt(f"p{index}"))) for index in range(20)
    ]
    await asyncio.sleep(0)
    for task in writes:
        task.cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    assert (await store.open_session(session.session_id)).header.message_count == 20
