from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from lmchat.base.errors import WrongUse
from lmchat.core.storage.search import Filters, parse_filters
from tests.support.chats import answer, header, prompt


@pytest.fixture
async def talks(store):
    """Two sessions in October and November; the answers hold code."""
    for month, title, model in ((10, "Café plans", "qwen3-8b"), (11, "Other", "llama-3")):
        moment = datetime(2026, month, 15, 12, tzinfo=UTC)
        session = header(title, moment=moment)
        asked = replace(prompt(f"needle {month}"), created_at=moment)
        await store.append(session, asked)
        said = replace(
            answer(f"needle {month}\n```py\nx\n```", parent=asked), created_at=moment, model=model
        )
        await store.end_answer(session.session_id, said)


async def test_filters_narrow_a_search(store, talks):
    for query, found in (
        ("needle", ["11 assistant", "11 user", "10 assistant", "10 user"]),
        ("needle role:user", ["11 user", "10 user"]),
        ("role:assistant needle", ["11 assistant", "10 assistant"]),
        ("needle model:QWEN", ["10 assistant"]),
        ("needle title:cafe role:user", ["10 user"]),
        ('title:"cafe plans" needle role:user', ["10 user"]),
        ("needle before:2026-11-01 role:user", ["10 user"]),
        ("needle after:2026-11-01 role:user", ["11 user"]),
        ("needle after:2026-10-15T12:30:00+00:00 role:user", ["11 user"]),
        ("needle has:code", ["11 assistant", "10 assistant"]),
        ("has:code", ["11 assistant", "10 assistant"]),
        ("HAS:code Role:User", []),
        ("``` model:llama", ["11 assistant"]),
        ("model:%", []),
        ("needle model:_", []),
        ("needle has:", []),
    ):
        hits = await store.search(query)
        assert [f"{hit.created_at.month} {hit.role}" for hit in hits] == found


def test_what_is_no_filter_stays_a_word():
    for text in ("a:b", "http://model:1", "submodel:x", "model:", 'title:""', '"role:nobody"'):
        assert parse_filters(text) == (text, Filters())


def test_a_filter_with_a_wrong_value_is_refused():
    for wrong, form in (
        ("role:nobody", "role:user or role:assistant"),
        ("Before:yesterday", "a date, such as before:2026-11-01"),
        ('after:"last week"', "a date, such as after:2026-11-01"),
        ("has:fun", "has:code"),
    ):
        with pytest.raises(WrongUse) as caught:
            parse_filters(f"needle {wrong} title:x")
        assert caught.value.message == f"The filter {wrong} is not valid; write {form}."


@pytest.mark.posix  # Windows takes the time zone of the machine
def test_days_begin_where_the_user_is(monkeypatch):
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    try:
        _, filters = parse_filters("after:2026-11-01")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert filters.values == ("2026-10-31T22:00:00.000000+00:00",)


async def test_titles_narrow_a_search_whether_many_or_few_sessions_have_them(store):
    for number in range(130):
        await store.append(header(f"Shade {number}"), prompt(f"needle {number}"))
    newest = [f"Shade {number}" for number in range(129, -1, -1)]
    for query in ("title:shade", "needle title:shade", "eedl title:shade", "needle"):
        assert [hit.title for hit in await store.search(query, limit=1000)] == newest, query
        assert [hit.title for hit in await store.search(query, limit=3)] == newest[:3], query
    for query in ("title:shade title:7", "needle title:shade title:7", 'title:"shade 7" eedle'):
        found = [hit.title for hit in await store.search(query, limit=1000)]
        assert found == [
            title for title in newest if "7" in title and ("title:7" in query or "e 7" in title)
        ]
    assert await store.search("needle title:sun") == await store.search("title:sun") == ()
