"""The list of sessions in parts: a long one costs no more than a short one, a filter looks at all."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from lmchat.domain.session import ListFilter, tags_from
from lmchat.storage import write
from lmchat.storage.read import sessions_with
from tests.support.chats import START, header, prompt, store_at

MANY = 10_000


async def listed(store, count, *, change=lambda number, session: session):
    """Write so many sessions, the first one the newest, in one transaction."""

    def job(connection):
        for number in range(count):
            made = header(f"Session {number}", moment=START - timedelta(minutes=number))
            session, asked = change(number, made), prompt(f"prompt {number}")
            write.put_session(connection, session)
            write.put_whole(connection, session.session_id, asked)

    await store._database.write(job)


def titles(found):
    return [one.title.removeprefix("Session ") for one in found.headers]


async def test_parts_follow_the_order_of_the_list_with_archived_ones_at_its_end(store):
    def change(number, session):
        return replace(session, is_pinned=number in (3, 4), is_archived=number in (0, 4))

    await listed(store, 6, change=change)
    every = await store.sessions_with(ListFilter(), limit=100)
    assert (titles(every), every.total) == (["3", "1", "2", "5", "4", "0"], 6)
    for limit in range(7):
        found = await store.sessions_with(ListFilter(), limit=limit)
        assert (found.headers, found.total) == (every.headers[:limit], 6)


@pytest.mark.slow
async def test_a_filter_finds_a_title_however_far_down_it_stands(store):
    await listed(store, 1_500, change=lambda n, s: replace(s, title="ÜBER Straßen") if n == 1_400 else s)
    (found,) = (await store.sessions_with(ListFilter.typed("  über STRASSEN "), limit=20)).headers
    assert found.title == "ÜBER Straßen"
    several = await store.sessions_with(ListFilter.typed("session 13"), limit=20)
    assert (len(several.headers), several.total) == (20, 111)
    assert (await store.sessions_with(ListFilter.typed("100%"), limit=20)).total == 0


async def test_what_is_in_the_trash_is_not_listed(store):
    await listed(store, 2)
    first = (await store.sessions_with(ListFilter(), limit=1)).headers[0]
    await store.update_session(first.session_id, {"deleted_at": START})
    found = await store.sessions_with(ListFilter(), limit=10)
    assert (titles(found), found.total) == (["1"], 1)
    assert (await store.sessions_with(ListFilter.typed("session 0"), limit=10)).total == 0


async def test_titles_that_are_no_text_are_filtered_too(store):
    await listed(store, 1, change=lambda _, session: replace(session, title="half \ud83d a sign"))
    assert (await store.sessions_with(ListFilter.typed("a sign"), limit=10)).total == 1


async def test_tags_are_filtered_with_and_without_words(store):
    tags = {0: ("garden", "plans"), 1: ("gardening",), 2: ()}
    await listed(store, 3, change=lambda number, session: replace(session, tags=tags[number]))
    found = {
        typed: titles(await store.sessions_with(ListFilter.typed(typed), limit=10))
        for typed in ("#garden", "#garden #plans", "session 1 #gard", "#none", "#GARDENING", "#")
    }
    assert found == {
        "#garden": ["0", "1"],
        "#garden #plans": ["0"],
        "session 1 #gard": ["1"],
        "#none": [],
        "#GARDENING": ["1"],
        "#": ["0", "1"],
    }


async def test_tags_are_changed_forked_and_taken_away(store):
    await listed(store, 1)
    (one,) = await store.list_sessions()
    changed = await store.update_session(one.session_id, {"tags": ("garden", "\ud83d")})
    assert changed.tags == ("garden", "\ud83d")
    leaf = (await store.open_session(one.session_id)).messages[-1]
    assert (await store.fork(one.session_id, leaf.message_id)).header.tags == changed.tags
    assert (await store.update_session(one.session_id, {"tags": ()})).tags == ()


@pytest.mark.parametrize(
    ("typed", "tags"),
    [
        ("garden", ("garden",)),
        (" #Garden, plans  garden ", ("garden", "plans")),
        ("", ()),
        ("# , ##", ()),
        ("x" * 99, ("x" * 40,)),
        ("日本 a\u2003b", ("日本", "a", "b")),
    ],
)
def test_what_is_typed_as_tags_is_cut_into_words(typed, tags):
    assert tags_from(typed) == tags


async def steps_of(store, wanted):
    """Count what SQLite does for the first part of the list: it does not depend on the machine."""
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    def job(connection):
        connection.set_progress_handler(count, 1)
        sessions_with(connection, wanted, 100)
        connection.set_progress_handler(None, 0)

    await store._database.read(job)
    return steps


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_first_part_of_ten_thousand_is_read_with_few_more_steps_than_that_of_a_hundred(tmp_path):
    steps = []
    for count in (100, MANY):
        store = store_at(tmp_path / str(count))
        await listed(store, count)
        steps.append(await steps_of(store, ListFilter()))
        await store.aclose()
    assert steps[1] < steps[0] + 3 * MANY  # counting them takes two steps each, reading them all some 60
