"""Rows out of files whose header or trees are lost."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from lmchat.domain.message import AnswerState, ReasoningPart, TextPart, ToolCallPart
from lmchat.storage.raw_rows import raw_rows
from tests.support.chats import answer, fill, header, reply, say, store_at

VALUES = [
    (None, 0, 1, -1, 127, -128, 32767, -(2**23), 2**31, 2**47, 2**62, -(2**63)),
    (0.5, -1e300, float("inf"), "", "ä漢🙂", b"", b"\x00\xff" * 9, "x" * 200, None, 7, 8, 9),
    *(("y" * size, b"z" * size, size, *[None] * 9) for size in (400, 950, 1000, 5000, 100_000)),
]


@pytest.mark.parametrize("page", [512, 1024, 4096, 65536])
def test_every_value_of_every_size_is_read_without_the_trees(tmp_path, page):
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"pragma page_size = {page}")
        raw.execute("create table t (a, b, c, d, e, f, g, h, i, j, k, l)")
        raw.executemany("insert into t values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", VALUES * 20)
        raw.commit()
    found = [tuple(row.values) for row in raw_rows(path) if len(row.values) == 12]
    assert sorted(map(repr, found)) == sorted(map(repr, VALUES * 20))


@pytest.mark.parametrize("page", [1024, 4096])
def test_the_size_of_pages_is_found_where_the_header_is_lost_and_long_values_come_first(tmp_path, page):
    path = tmp_path / "some.db"
    rows = [(number, f"row {number} " * 12) for number in range(8000)]
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"pragma page_size = {page}")
        raw.execute("create table t (a, b)")
        raw.execute("create index by_text on t (b)")
        raw.execute("insert into t values (-1, ?)", ("long " * 200_000,))
        raw.executemany("insert into t values (?, ?)", rows)
        raw.commit()
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    found = {tuple(row.values) for row in raw_rows(path) if len(row.values) == 2}
    assert found >= {*rows, (-1, "long " * 200_000)}


@pytest.mark.parametrize("seed", range(30))
def test_noise_raises_nothing(tmp_path, seed):
    path = tmp_path / "noise"
    dice = random.Random(seed)  # noqa: S311 - repeats
    data = bytearray(dice.randbytes(dice.randrange(20_000)))
    for start in range(0, len(data), 1024):
        data[start] = 13
    path.write_bytes(data)
    assert all(len(row.values) <= 64 for row in raw_rows(path))


async def saved_from(tmp_path, damage):
    """Damage the file of three hundred sessions; return what the next start saves of it."""
    store = store_at(tmp_path)
    await fill(store, 300, words=20)
    session = header("Kept")
    asked = await say(store, session, "A question of some length. " * 200)
    said = answer(
        ReasoningPart(text="hm"),
        TextPart(text="Long. " * 2000),
        ToolCallPart(call_id="1", name="f", arguments="{}"),
        parent=asked,
    )
    await store.finish(session.session_id, said)
    await store.aclose()
    path = tmp_path / "lmchat" / "sessions.db"
    path.write_bytes(damage(bytearray(path.read_bytes())))
    store = store_at(tmp_path)
    try:
        talks = [(one, await store.open_session(one.session_id)) for one in await store.list_sessions()]
        assert "was damaged" in store.notice
        assert await store.search("answer")
        return [(one.title, talk.messages) for one, talk in talks], (asked, said)
    finally:
        await store.aclose()


def no_magic(content):
    content[:16] = b"no longer SQLite"
    return content


def no_first_page(content):
    content[:1024] = bytes(1024)
    return content


def no_tables(content):
    """The pages that say which tables there are, and where."""
    content[100 : 20 * 1024] = bytes(20 * 1024 - 100)
    return content


@pytest.mark.parametrize("damage", [no_magic, no_first_page, no_tables])
async def test_where_header_or_list_of_tables_are_lost_no_message_is(tmp_path, damage):
    talks, long = await saved_from(tmp_path, damage)
    assert len(talks) == 301
    talks = dict(talks)
    assert talks["Kept"] == long
    for number in range(300):
        messages = talks[f"prompt {number}"]
        assert [message.text for message in messages] == [f"prompt {number}", f"answer {number} " * 20]
        assert messages[1].state is AnswerState.COMPLETE


async def test_where_pages_are_lost_the_others_are_saved(tmp_path):
    dice = random.Random(2)  # noqa: S311 - repeats

    def holes(content):
        for page in dice.sample(range(len(content) // 1024), 30):
            content[page * 1024 : (page + 1) * 1024] = dice.randbytes(1024)
        return content

    talks, _ = await saved_from(tmp_path, holes)
    assert sum(bool(message.text) for _, messages in talks for message in messages) > 400


async def test_what_was_purged_does_not_come_back_with_a_damaged_file(tmp_path):
    store = store_at(tmp_path)
    await fill(store, 50)
    session = header("Secret plan")
    asked = await say(store, session, "Nobody may read this. " * 300)
    await reply(store, session, "Nobody will. " * 300, asked)
    await store.purge(session.session_id)
    await store.aclose()
    path = tmp_path / "lmchat" / "sessions.db"
    content = path.read_bytes()
    assert b"Nobody" not in content
    path.write_bytes(bytes(1024) + content[1024:])
    store = store_at(tmp_path)
    assert len(await store.list_sessions(limit=1000)) == 50
    assert await store.search("nobody") == ()
    await store.aclose()


@pytest.mark.parametrize(
    "column", [b"receipt text", b"created_at text", b"message_id text", b"updated_at text"]
)
async def test_a_table_that_is_described_wrongly_costs_no_text(tmp_path, column):
    def misspelt(content):
        place = content.find(column, content.find(b"create table messages"))
        if place < 0:
            place = content.find(column)
        content[place : place + 2] = b"zz"
        return content

    talks, _ = await saved_from(tmp_path, misspelt)
    assert sum(bool(message.text) for _, messages in talks for message in messages) == 602
