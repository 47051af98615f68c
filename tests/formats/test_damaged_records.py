"""Damaged records of files: each costs itself only, and is counted."""

from __future__ import annotations

import copy
import json
import sqlite3
from contextlib import closing, suppress

import pytest

from tests.formats.test_foreign import CHATGPT, DATA, LLAMA_CPP, LM_STUDIO, chats_of, left_out
from tests.formats.test_foreign_databases import source

JAN = "jan/messages.jsonl"
WRONG = (5, "x", None, [], {}, 1e308, [5], {"a": []})
_DATABASES = ("elia.sql", "oterm.sql", "llm.sql", "llm-upgraded.sql", "open-webui.sql")


def lines_of(name):
    return [line for line in (DATA / name).read_text().splitlines() if line.endswith("}")]


def texts_of(session):
    return [message.text for message in session.tree]


@pytest.mark.parametrize("name", [JAN, LLAMA_CPP])
@pytest.mark.parametrize("broken", ['{"id": "x', "}", "garbage", '{"a": [', '{"a": [[[[[[', "{" * 5000])
def test_a_broken_line_costs_itself_only_wherever_it_is(tmp_path, name, broken):
    good = lines_of(name)
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(good))
    (whole,) = chats_of(path)
    for place in range(len(good) + 1):
        path.write_text("\n".join([*good[:place], broken, *good[place:]]))
        (session,) = chats_of(path)
        assert texts_of(session) == texts_of(whole)
        assert session.messages == whole.messages
        assert f"line {place + 1}: it is damaged" in left_out(path)


@pytest.mark.parametrize("name", [JAN, LLAMA_CPP])
def test_a_lost_line_costs_its_message_only(tmp_path, name):
    good = lines_of(name)
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(good))
    (whole,) = chats_of(path)
    for place, line in enumerate(good[1:], 1):
        path.write_text("\n".join([*good[:place], line[:-1], *good[place + 1 :]]))
        (session,) = chats_of(path)
        lost = len(whole.tree) - len(session.tree)
        assert lost <= 3  # an answer, its call and its result
        assert f"line {place + 1}: it is damaged" in left_out(path)
        assert len(session.messages) >= len(whole.messages) - 3


def test_messages_of_a_chat_whose_first_line_is_broken_do_not_go_to_the_chat_before_it(tmp_path):
    first = lines_of(LLAMA_CPP)
    second = [line.replace("c0ffee-1", "c0ffee-2") for line in first]
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join([*first, second[0][:-1], *second[1:]]))
    one, two = chats_of(path)
    assert texts_of(one) == texts_of(two)
    path.write_text("\n".join([first[0][:-1], *first[1:]]))
    assert texts_of(chats_of(path)[0]) == texts_of(one)


@pytest.mark.parametrize("indent", [None, 1])
def test_an_object_of_a_list_that_is_no_json_costs_itself_only(tmp_path, indent):
    chat = json.loads((DATA / CHATGPT).read_text())[0]
    texts = [json.dumps(chat | {"conversation_id": str(number)}, indent=indent) for number in range(3)]
    texts[1] = texts[1].replace(":", "", 1)
    path = tmp_path / "conversations.json"
    path.write_text(f"[{', '.join(texts)}]")
    assert len(chats_of(path)) == 2
    assert "record 2: it is damaged" in left_out(path)


def test_hundreds_of_broken_lines_are_named_and_the_others_counted(tmp_path):
    good = lines_of(JAN)
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join([*good[:2], *["{"] * 1500, *good[2:]]))
    assert len(chats_of(path)[0].tree) >= len(good)
    told = left_out(path)
    assert "line 3: it is damaged" in told
    assert "600 more records: they are damaged" in told


def test_a_message_of_jan_may_be_a_plain_text(tmp_path):
    rows = [json.loads(line) for line in lines_of(JAN)]
    for row in rows:
        row["content"] = f"plain {row['id']}"
        row["metadata"] = {}
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (session,) = chats_of(path)
    assert texts_of(session) == [f"plain {row['id']}" for row in rows]
    rows[1]["content"] = 5
    path.write_text("\n".join(map(json.dumps, rows)))
    assert len(chats_of(path)[0].messages) == len(rows) - 1
    assert "1 damaged message" in left_out(path)[0]


def test_hidden_messages_of_chatgpt_are_left_out(tmp_path):
    chat = json.loads((DATA / CHATGPT).read_text())[0]
    kinds = [
        node["message"]["content"]["content_type"] for node in chat["mapping"].values() if node["message"]
    ]
    assert "user_editable_context" in kinds
    (session,) = chats_of(DATA / CHATGPT)
    words = json.dumps([message.text for message in session.tree])
    assert "I live in Bern." not in words
    assert "Be brief." not in words


def _places(value, path=()):
    """Return the paths to all values in a value."""
    yield path
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in rows:
        yield from _places(below, (*path, key))


def _changed(value, path, replacement):
    changed = copy.deepcopy(value)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = replacement
    return changed


CONTAINERS = {
    LM_STUDIO: ("messages",),
    CHATGPT: (0, "mapping"),
    "open-webui.json": (0, "chat", "history", "messages"),
    "parllama.json": ("messages",),
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_value_of_a_message_costs_that_message_only(tmp_path, name, wrong):
    value = json.loads((DATA / name).read_text())
    container = CONTAINERS[name]
    (whole,) = chats_of(DATA / name)
    path = tmp_path / name
    for place in _places(value):
        if len(place) > len(container) and place[: len(container)] == container:
            path.write_text(json.dumps(_changed(value, place, wrong)))
            (session,) = chats_of(path)
            assert len(session.tree) >= len(whole.tree) - 4, place  # with its calls and results
            is_told = bool(wrong) and wrong != WRONG[-1] and place[-1] != "root"
            if is_told and len(place) == len(container) + 1:
                assert any("damaged message" in words for words in left_out(path)), place


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_value_beside_the_messages_costs_no_message(tmp_path, name, wrong):
    value = json.loads((DATA / name).read_text())
    container = CONTAINERS[name]
    (whole,) = chats_of(DATA / name)
    path = tmp_path / name
    for place in _places(value):
        is_above = place == container[: len(place)]
        if not is_above and place[: len(container)] != container:
            path.write_text(json.dumps(_changed(value, place, wrong)))
            (session,) = chats_of(path)
            assert len(session.tree) >= len(whole.tree) - 1, place  # a system prompt is a message


@pytest.mark.parametrize("name", _DATABASES)
@pytest.mark.parametrize("wrong", ["5", "x'ff'", "'{'", "1e999", "''", "'[1, {}]'"])
def test_a_wrong_value_of_a_row_costs_that_row_only(tmp_path, name, wrong):
    made = source(tmp_path, name)
    (whole,) = chats_of(made)[:1]
    count = sum(len(session.tree) for session in chats_of(made))
    with closing(sqlite3.connect(made)) as connection:
        query = (
            "select m.name, c.name from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table'"
        )
        columns = connection.execute(query).fetchall()
    path = tmp_path / "damaged.db"
    for table, column in columns:
        if "fts" in table or (column in ("id", "chat_id", "hash", "role", "author", "tip_message_hash")):
            continue
        path.write_bytes(made.read_bytes())
        last = f'(select max(rowid) from "{table}")'  # noqa: S608 - constants
        change = f'update or ignore "{table}" set "{column}" = {wrong} where rowid = {last}'  # noqa: S608
        with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.Error):
            connection.execute(change)
            connection.commit()
        found = sum(len(session.tree) for session in chats_of(path))
        assert found >= count - 3, (table, column)
    assert whole.tree
