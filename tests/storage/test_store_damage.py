from __future__ import annotations

import random
import sqlite3
from contextlib import aclosing, closing, suppress

import pytest

from lmchat.domain.message import AnswerState
from lmchat.domain.telemetry import Metrics
from lmchat.errors import SessionUnreadable, StoreUnavailable
from lmchat.storage.schema import VERSION
from tests.support.chats import FIGURES, Clock, begin_session, fill, header, reply, say, store_at


@pytest.fixture
async def path(tmp_path):
    """A file with 20 sessions of 2 messages, closed."""
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 20)
    return tmp_path / "lmchat" / "sessions.db"


def change(path, statement, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(statement, values)


@pytest.fixture
async def damaged(tmp_path, path):
    """A store that is opened when a test has done its damage."""
    store = store_at(tmp_path)
    yield store
    await store.aclose()


async def talk(store, number):
    """Return the messages of one of the sessions."""
    (found,) = [
        session for session in await store.list_sessions() if session.title == f"prompt {number}"
    ]
    return (await store.open_session(found.session_id)).messages


async def test_a_file_that_is_no_database_is_set_aside_and_named(tmp_path):
    for number, content in enumerate((b"not a database" * 500, b"\0" * 8192, b"SQLite format 3\0")):
        folder = tmp_path / str(number)
        path = folder / "lmchat" / "sessions.db"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        async with aclosing(store_at(folder)) as store:
            await begin_session(store, "hello")
            (aside,) = path.parent.glob("*damaged*")
            assert aside.name == "sessions.db.damaged-20261120-080001"
            assert aside.name in store.notice
            assert "0 messages" in store.notice
            assert aside.read_bytes() == content
            assert len(await store.list_sessions()) == 1
        async with aclosing(store_at(folder)) as again:
            assert await again.open() == ""


async def test_an_empty_file_is_a_database_without_tables(tmp_path, path):
    path.write_bytes(b"")
    async with aclosing(store_at(tmp_path)) as store:
        await begin_session(store, "hello")
        assert (list(path.parent.glob("*damaged*")), store.notice) == ([], "")
        assert len(await store.list_sessions()) == 1


def cut(content, _dice):
    return content[: len(content) * 9 // 10 // 1024 * 1024]


def holes(content, dice):
    for _ in range(10):
        page = dice.randrange(10, len(content) // 4096)
        content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    return content


@pytest.mark.parametrize(
    ("damage", "has_copy", "least"),
    [(cut, False, 200), (holes, False, 50), (cut, True, 300), (holes, True, 300)],
)
async def test_what_can_be_read_of_a_damaged_file_or_its_copy_is_saved(
    tmp_path, damage, has_copy, least
):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 150, words=100)
        if has_copy:
            await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    path.write_bytes(damage(bytearray(path.read_bytes()), random.Random(1)))  # noqa: S311 - repeats
    async with aclosing(store_at(tmp_path)) as store:
        found = [await store.tree(session.session_id) for session in await store.list_sessions()]
        assert sum(bool(message.text) for messages in found for message in messages) >= least
        assert await store.search("answer")
        assert "was damaged. It is kept as sessions.db.damaged-" in store.notice


@pytest.mark.parametrize("seed", range(3))
async def test_a_file_with_random_bytes_in_it_still_opens_and_takes_new_messages(
    damaged, path, seed
):
    dice = random.Random(seed)  # noqa: S311 - repeats
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice([1, 5, 40])):
        place = dice.randrange(len(content))
        content[place : place + 64] = dice.randbytes(64)
    path.write_bytes(content)
    session = header()
    asked = await say(damaged, session, "hello")
    said = await reply(damaged, session, "yes", asked)
    assert (await damaged.open_session(session.session_id)).messages == (asked, said)
    await damaged.search("answer")
    await damaged.prompt_history()
    for found in await damaged.list_sessions():
        with suppress(SessionUnreadable):
            await damaged.open_session(found.session_id)


async def test_a_file_that_loses_what_is_written_is_damaged_and_begun_anew(damaged, path):
    change(path, "create trigger broken before insert on messages begin select raise(ignore); end")
    session = header()
    asked = await say(damaged, session, "hello")
    assert (await damaged.open_session(session.session_id)).messages == (asked,)
    assert "was damaged. It is kept as sessions.db.damaged-" in damaged.notice
    assert len(await damaged.list_sessions()) == 21


MESSAGES = (
    "role = 'nobody'",
    "state = 'no state'",
    "created_at = 'no time'",
    "created_at = 17",
    "message_id = x'ff00'",
    "created_at = '2026-01-01T00:00:00'",
)
FIGURES_OF_MESSAGES = (
    "receipt = '{'",
    "receipt = '[1]'",
    'receipt = \'{"ttft_ms": "soon"}\'',
    "receipt = x'ff'",
    "failure = '{\"kind\": 1}'",
    "failure = '\u001b[31m'",
    "receipt = '" + "[" * 100_000 + "'",
)


async def test_a_damaged_message_costs_that_message_alone(damaged, path):
    """The prompt of another session has each damage; their answers have the even numbers."""
    for number, damage in enumerate(MESSAGES):
        change(path, f"update messages set {damage} where number = {2 * number + 1}")  # noqa: S608 - a test
    for number, damage in enumerate(MESSAGES):
        texts = [message.text for message in await talk(damaged, number)]
        assert texts == [f"answer {number} " * 50], damage
    assert len(await damaged.list_sessions()) == 20
    assert await damaged.search("prompt")


async def test_damaged_figures_of_a_message_cost_themselves_alone(damaged, path):
    for number, damage in enumerate(FIGURES_OF_MESSAGES):
        change(path, f"update messages set {damage} where number = {2 * number + 1}")  # noqa: S608 - a test
    for number in range(len(FIGURES_OF_MESSAGES)):
        message, *_ = await talk(damaged, number)
        found = (message.text, message.receipt, message.failure)
        assert found == (f"prompt {number}", None, None)


async def test_a_damaged_counter_costs_itself_alone(damaged, path):
    names = ("retries", "cache_hits", "successful_requests", "failed_requests")
    for name, damage in zip(names, ("'many'", "x'ff'", "9e999", "1.5"), strict=True):
        change(path, f"insert into metrics values ('{name}', {damage})")  # noqa: S608 - a test
    change(path, "insert into metrics values ('total_requests', 2)")
    assert await damaged.metrics.load() == Metrics(total_requests=2)
    assert (await damaged.metrics.add(Metrics(total_requests=1))).total_requests == 3


async def test_a_damaged_speed_in_the_ledger_costs_its_turn_alone(damaged, path):
    for _ in range(3):
        await damaged.add_ledger(FIGURES)
    change(path, "update ledger set tokens_per_second = 'fast' where ledger_id = 2")
    assert await damaged.speeds() == {(FIGURES.endpoint, FIGURES.model): 40.0}
    assert len(await damaged.ledger_rows()) == 2


async def test_a_session_whose_id_is_no_text_costs_that_session_alone(damaged, path):
    change(path, "pragma foreign_keys = off")
    change(path, "update sessions set session_id = x'ff001b' where title = 'prompt 0'")
    assert len(await damaged.list_sessions()) == 19


async def test_bytes_that_are_no_text_cost_themselves_alone(damaged, path):
    change(path, "update parts set text = cast(x'68ff69' as text) where text = 'prompt 0'")
    change(path, "update parts set text = x'68ff69' where text = 'prompt 1'")
    first, second = await talk(damaged, 0), await talk(damaged, 1)
    assert first[0].text == second[0].text == "h\ufffdi"
    assert second[1].text == "answer 1 " * 50


async def test_a_name_with_damaged_bytes_costs_no_search(damaged, path):
    change(path, "update sessions set title = cast(x'68ff69' as text) where title = 'prompt 0'")
    change(path, "update messages set model = cast(x'68ff69' as text) where number = 2")
    assert await damaged.search("prompt")
    assert await damaged.search("title:prompt answer")
    assert await damaged.search("model:qwen answer")


async def test_a_damaged_header_costs_that_session_alone(damaged, path):
    change(path, "update sessions set updated_at = 'no time' where title = 'prompt 3'")
    assert len(await damaged.list_sessions()) == 19
    (hit,) = await damaged.search('"prompt 3"')
    with pytest.raises(SessionUnreadable, match="is damaged"):
        await damaged.open_session(hit.session_id)


async def test_a_message_whose_parent_is_lost_and_a_circle_are_still_shown(damaged, path):
    change(path, "update messages set parent_id = 'lost' where number = 2")
    fourth = "(select message_id from messages where number = 4)"
    change(path, f"update messages set parent_id = {fourth} where number = 3")  # noqa: S608 - a test
    assert [message.text[:6] for message in await talk(damaged, 0)] == ["answer"]
    assert [message.text[:6] for message in await talk(damaged, 1)] == ["prompt", "answer"]


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
async def test_a_file_of_another_version_of_lmchat_is_left_alone(damaged, path, version):
    change(path, f"pragma user_version = {version}")
    before = path.read_bytes()
    for call in (damaged.list_sessions(), say(damaged, header(), "hello")):
        with pytest.raises(StoreUnavailable, match="from another version of lmchat") as caught:
            await call
        assert "Update lmchat" in caught.value.hint
    assert path.read_bytes() == before


async def test_setting_aside_twice_in_one_second_keeps_both(tmp_path):
    path = tmp_path / "lmchat" / "sessions.db"
    path.parent.mkdir()
    for _ in range(2):
        path.write_bytes(b"garbage" * 1000)
        async with aclosing(store_at(tmp_path, Clock())) as store:
            await store.open()
    assert len([found for found in path.parent.iterdir() if "damaged" in found.name]) == 2


@pytest.mark.parametrize("damage", ["short", "header", "tables"])
async def test_damage_that_shows_at_once_is_told_at_the_start(tmp_path, damage):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 20)
        await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    content = path.read_bytes()
    damaged = {
        "short": content[:-1024],
        "header": b"nothing" + content[7:],
        "tables": content.replace(b"CREATE TABLE parts", b"CREATE TXBLE parts"),
    }
    path.write_bytes(damaged[damage])
    async with aclosing(store_at(tmp_path)) as store:
        assert "was damaged" in await store.open()
        assert len(await store.list_sessions()) == 20


async def test_a_damaged_answer_that_streams_keeps_no_session_from_being_opened(damaged, path):
    damages = ("model = x'ff40ff'", "created_at = '0001-01-01T00:00:00+14:00'")
    for number, damage in enumerate(damages):
        changed = f"state = 'streaming', {damage} where number = {2 * number + 2}"
        change(path, f"update messages set {changed}")  # noqa: S608 - a test
    for number, damage in enumerate(damages):
        messages = await talk(damaged, number)
        assert messages[0].text == f"prompt {number}"
        assert all(message.state is not AnswerState.STREAMING for message in messages), damage


async def test_a_damaged_file_behind_a_link_is_repaired_from_the_copy_beside_it(tmp_path, path):
    real = tmp_path / "elsewhere" / "sessions.db"
    real.parent.mkdir()
    path.rename(real)
    path.symlink_to(real)
    async with aclosing(store_at(tmp_path)) as store:
        await store.daily_check()
    real.write_bytes(b"not a database at all" * 500)
    async with aclosing(store_at(tmp_path)) as store:
        assert "40 messages recovered" in await store.open()
        assert len(await store.list_sessions()) == 20
    assert path.is_symlink()
    assert [file.name for file in real.parent.glob("*.damaged-*")]
