from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import aclosing, closing

import pytest

from lmchat.base.matching import without_accents
from lmchat.core.storage import search as searching
from tests.support.chats import faults_in, header, reply, say, start_session, store_at


@pytest.fixture
async def session(store):
    session, asked = await start_session(
        store, "Which végétables grow in SHADE? Cafés, naïve ones."
    )
    await reply(
        store,
        session,
        "Use `beds->plan` with 100% care_ful \\ 日本語の全文検索です, and AND-gates: x*y",
        asked,
    )
    return session


def marked(hits):
    return [hit.match for hit in hits]


async def test_what_was_said_is_found_as_people_type_it(store, session):
    for query, match in (
        ("vegetables", "végétables"),
        ("VÉGÉT", "végét"),
        ("shade", "SHADE"),
        ('"grow in shade"', "grow in SHADE"),
        ('"grow in sha', "grow in SHA"),
        ("cafes grow", "grow"),
        ("日本語の全文検索", "日本語の全文検索"),
        ("語", "語"),
        ("->", "->"),
        ("%", "%"),
        ("care_f", "care_f"),
        ("\\", "\\"),
        ("AND", "and"),
        ("and-gates:", "AND-gates:"),
        ("x*y", "x*y"),
        ("veg*", "vég"),
        ("use* care_f**", "Use"),
    ):
        hits = await store.search(query)
        assert marked(hits)[:1] == [match]
        assert hits[0].session_id == session.session_id
    await say(store, session, "half a pair \ud83c at its end")
    (half,) = await store.search('"pair ? at"')
    assert (half.session_id, half.match) == (session.session_id, "")


async def test_accents_of_the_last_letter_belong_to_a_match(store):
    await start_session(store, "Pho\u031b\u0309 bo\u0300, then cafe\u0301s")
    assert marked(await store.search("pho")) == ["Pho\u031b\u0309"]
    assert marked(await store.search("cafe")) == ["cafe\u0301"]
    assert marked(await store.search("af")) == ["af"]


async def test_an_accent_alone_between_blanks_does_not_hide_the_place_of_a_hit(store):
    await start_session(store, "x " * 100 + "plan \u0301 now")
    assert marked(await store.search('"plan now"')) == ["plan \u0301 now"]


async def test_hits_come_newest_first_with_the_words_around_on_one_line(store):
    session, asked = await start_session(store, "The first\nneedle here")
    said = await reply(store, session, "x " * 200 + "second\n\nneedle\tthere" + " y" * 200, asked)
    hits = await store.search("needle")
    assert [hit.message_id for hit in hits] == [said.message_id, asked.message_id]
    assert (hits[1].before, hits[1].match, hits[1].after) == ("The first ", "needle", " here")
    assert "\n" not in hits[0].before + hits[0].after
    assert hits[0].before.endswith("second ")
    assert hits[0].after.startswith(" there y")
    assert (hits[0].role, hits[0].model, hits[0].title) == ("assistant", "qwen3-8b", "The first")
    assert len(await store.search("needle", limit=1)) == 1


async def test_a_search_that_is_cancelled_ends_and_the_next_one_is_served(
    store, session, monkeypatch
):
    started = threading.Event()
    plain = searching.search

    def endless(connection, query, limit):
        if query != "endless":
            return plain(connection, query, limit)
        started.set()
        steps = "with recursive n (n) as (select 1 union all select n + 1 from n) select count(*) from n"
        return connection.execute(steps).fetchone()

    monkeypatch.setattr(searching, "search", endless)
    task = asyncio.ensure_future(store.search("endless"))
    assert await asyncio.to_thread(started.wait, 15)
    task.cancel()
    assert len(await store.search("shade")) == 1
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("comes_first", ["a search", "a prompt", "a purge"])
async def test_a_damaged_index_costs_no_message_and_is_told_once(
    tmp_path, store, session, comes_first
):
    other, _ = await start_session(store, "other vegetables")
    await store.aclose()
    path = tmp_path / "lmchat" / "sessions.db"
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("update trigrams_data set block = x'00112233445566778899'")
    async with aclosing(store_at(tmp_path)) as again:
        if comes_first == "a search":
            assert marked(await again.search("végétables")) == ["vegetables", "végétables"]
        elif comes_first == "a purge":
            await again.purge(other.session_id)
        await say(again, session, "a new needle")
        assert marked(await again.search("needle")) == ["needle"]
        assert marked(await again.search("vegetables"))[-1] == "végétables"
        assert "was damaged" in again.notice
        assert len(await again.tree(session.session_id)) == 3
    assert faults_in(path) == ""
    async with aclosing(store_at(tmp_path)) as again:
        assert await again.open() == ""


MARKS = ["\u0300\u0316", "\u05b7\u05b0", "\u0316\uff9e", "\u0f73"]
"""Two orders of combining marks; what becomes of a letter, and of a mark that is two."""


@pytest.fixture
async def talk(store):
    talk = header("A long talk")
    await say(store, talk, "wor word a b %% and more words")
    return talk


async def test_what_is_pasted_into_the_search_ends_without_an_error(store, talk):
    for text in (
        *("a" * 60_000, "%" * 60_000, "wor " * 20_000, '"a ' * 5_000, "title:" + "t" * 60_000),
        *(
            "(" * 60_000,
            "ﷺ" * 60_000,
            "role:user " * 2_000,
            "title:b " * 2_000,
            "after:2020-01-01 " * 2_000,
        ),
    ):
        assert len(await store.search(text)) <= 2


async def test_a_hit_with_accents_without_end_is_found_in_linear_time(store):
    """Accents behind a letter are many pieces of text that are folded into nothing."""
    text = "x" + "\u0301" * 400_000
    await start_session(store, text)
    (hit,) = await store.search("x")
    assert hit.words == (text,)


def test_combining_marks_without_end_cost_a_text_no_more_than_other_characters():
    """With time that grows by the square of its length, one of these would take hours."""
    for marks in MARKS:
        assert without_accents("a" + marks * 500_000).startswith("a")


def test_marks_behind_a_long_run_are_found_by_the_same_run():
    assert without_accents("─" * 70) in without_accents(f"head\n{'─' * 100}\nbody")
