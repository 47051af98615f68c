from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from lmchat.base.errors import SessionNotFound
from lmchat.core.library.library import Library
from lmchat.core.sessions.session import group_by_day
from tests.support.chats import Clock, answered_chats, header

MOMENT = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)


@pytest.fixture
def library(store):
    return Library(store, clock=Clock())


def test_groups_keep_the_order_of_the_list_and_pinned_ones_stand_on_top():
    def made(title, day, year=2026, **values):
        return replace(header(title, moment=datetime(year, 11, day, tzinfo=UTC)), **values)

    headers = [
        made("p", 1, is_pinned=True),
        made("t", 20),
        made("u", 20),
        made("y", 19),
        made("m", 2),
        made("o", 2, year=2025),
    ]
    groups = group_by_day(headers, moment=MOMENT)
    assert [(group.name, "".join(found.title for found in group.headers)) for group in groups] == [
        ("Pinned", "p"), ("Today", "tu"), ("Yesterday", "y"), ("November", "m"),
        ("November 2025", "o"),
    ]  # fmt: skip
    assert group_by_day([], moment=MOMENT) == ()


async def test_archived_and_deleted_sessions_leave_the_list(store, library):
    one, two, three = await answered_chats(store, "one", "two", "three")
    await store.update_session(one, {"is_archived": True})
    await library.delete(two)
    assert [found.session_id for found in await library.store.list_sessions()] == [three, one]
    assert [found.session_id for found in await library.store.list_sessions(is_trash=True)] == [two]
    await store.update_session(one, {"is_pinned": True})
    assert [found.session_id for found in await library.store.list_sessions()] == [three, one]
    groups = await library.groups()
    assert [(group.name, [header.title for header in group.headers]) for group in groups] == [
        ("Today", ["three"]),
        ("Archived", ["one"]),
    ]
    await store.update_session(one, {"is_archived": False})
    (pinned, today) = await library.groups()
    assert (pinned.name, pinned.headers[0].title, today.name) == ("Pinned", "one", "Today")


async def test_only_a_session_in_the_trash_is_found_there(store, library):
    one, two, three = await answered_chats(store, "one", "two", "three")
    await library.delete(one)
    await library.delete(two)
    assert await library.find_deleted(one) == one
    assert await library.find_deleted("last") == two
    with pytest.raises(SessionNotFound, match="not in the trash"):
        await library.find_deleted(three)
