"""Damaged records of files: each costs itself only, and is counted."""

from __future__ import annotations

import copy
import json
import sqlite3
from contextlib import closing, suppress

import pytest

from tests.support.foreign_chats import (
    CHATGPT,
    DATA,
    LLAMA_CPP,
    LM_STUDIO,
    chats_of,
    foreign_file,
    left_out,
    outline,
)

JAN = "jan/messages.jsonl"
WRONG = (5, "x", None, [], {}, 1e308, [5], {"a": []})
WRONG_SQL = ("null", "5", "x'ff'", "'{'", "1e999", "''", "'[1, {}]'")
BROKEN_LINES = ('{"id": "x', "}", "garbage", '{"a": [', '{"a": [[[[[[', "{" * 5000)
_LINKS = ("hash", "parent_hash", "tip_message_hash")
_KEYS = (("threads", "id"),)


def each_pair(names, values):
    """Pair each name with each value; about a third are quick, at least two values of each name."""
    step = min(3, len(values) // 2)
    pairs = []
    for row, name in enumerate(names):
        for column, value in enumerate(values):
            is_quick = (row + column) % step == 0
            marks = [] if is_quick else [pytest.mark.slow]
            pairs.append(pytest.param(name, value, marks=marks, id=f"{name}-{str(value)[:20]}"))
    return pairs


def lines_of(name):
    return [line for line in (DATA / name).read_text().splitlines() if line.endswith("}")]


def texts_of(session):
    return [message.text for message in session.tree]


@pytest.mark.parametrize(("name", "broken"), each_pair([JAN, LLAMA_CPP], BROKEN_LINES))
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
    texts = [
        json.dumps(chat | {"conversation_id": str(number)}, indent=indent) for number in range(3)
    ]
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
    omissions = left_out(path)
    assert "line 3: it is damaged" in omissions
    assert "600 more records: they are damaged" in omissions


def test_hundreds_of_wrong_messages_of_a_list_are_named_and_the_others_counted(tmp_path):
    wrong = {"role": "pirate", "content": "arr"}
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"role": "user", "content": "Hi"}, *[wrong] * 1500]))
    omissions = left_out(path)
    assert len(omissions) == 901
    assert omissions[-1] == "600 more messages: they are damaged or incomplete"


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


def _places(value, path=()):
    """Return the paths to all values in a value."""
    yield path
    items = []
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, below in items:
        yield from _places(below, (*path, key))


def _changed(value, path, replacement):
    changed = copy.deepcopy(value)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = replacement
    return changed


_FIGURE = 424242
SHAPES = (_FIGURE, [_FIGURE], {"value": _FIGURE}, [{"type": "text", "text": str(_FIGURE)}])
TEXTS = ("text", "content", "value", "parts", "thinking", "reasoningContent", "output")
CONTAINERS = {
    LLAMA_CPP: ("messages",),
    LM_STUDIO: ("messages",),
    CHATGPT: (0, "mapping"),
    "open-webui.json": (0, "chat", "history", "messages"),
}


def value_of(name):
    """Return the one value of a file; of llama.cpp that of its older export."""
    if name != LLAMA_CPP:
        return json.loads((DATA / name).read_text())
    session, *messages = map(json.loads, lines_of(name))
    return {"conv": session, "messages": [record["message"] for record in messages]}


@pytest.mark.parametrize(("name", "wrong"), each_pair(CONTAINERS, WRONG))
def test_a_wrong_value_costs_the_message_that_it_is_in_only(tmp_path, name, wrong):
    value = value_of(name)
    container = CONTAINERS[name]
    (whole,) = chats_of(DATA / name)
    path = tmp_path / name
    for place in _places(value):
        is_inside = place[: len(container)] == container
        if place != container[: len(place)]:  # below which all messages are
            path.write_text(json.dumps(_changed(value, place, wrong)))
            (session,) = chats_of(path)
            lost = 4 if is_inside else 1  # with its calls and results; a system prompt
            assert len(session.tree) >= len(whole.tree) - lost, place
            is_message = is_inside and len(place) == len(container) + 1 and place[-1] != "root"
            if is_message and wrong and wrong != WRONG[-1]:
                assert any("damaged message" in words for words in left_out(path)), place


@pytest.mark.parametrize(("name", "shape"), each_pair([*CONTAINERS, JAN], SHAPES))
def test_a_text_of_another_shape_is_read_or_counted(tmp_path, name, shape):
    value = [json.loads(line) for line in lines_of(name)] if name == JAN else value_of(name)
    container = CONTAINERS.get(name, ())
    path = tmp_path / name.replace("/", "-")
    path.write_text(json.dumps(value))
    before = left_out(path)
    places = [place for place in _places(value) if place[: len(container)] == container]
    for place in places:
        is_text = {*place[-1:]} & {*TEXTS} or place[-2:-1] == ("parts",)
        if not is_text or _is_hidden(value, place):
            continue
        path.write_text(json.dumps(_changed(value, place, shape)))
        (session,) = chats_of(path)
        assert str(_FIGURE) in str(outline(session)) or left_out(path) != before, place


def _is_hidden(value, place):
    """Return whether a text is in a message or part that its program does not show."""
    for key in place:
        value = value[key]
        row = value if isinstance(value, dict) else {}
        metadata = row.get("metadata") or {}
        is_recap = row.get("content_type") == "reasoning_recap"
        if is_recap or "is_visually_hidden_from_conversation" in metadata:
            return True
        if row.get("isStructural"):
            return True
        if "output" in row and place[-1] == "content" and row.get("role"):
            return key == place[-2]  # the output has the text once more
    return False


@pytest.mark.parametrize("key", [5, None, "", []], ids=str)
def test_a_message_of_llama_cpp_with_a_wrong_id_costs_itself_only(tmp_path, key):
    path = tmp_path / "chats.json"
    path.write_text(json.dumps(_changed(value_of(LLAMA_CPP), ("messages", 2, "id"), key)))
    (session,) = chats_of(path)
    assert len(session.tree) == 5
    assert left_out(path) == ["“Sorting”: 1 damaged message left out"]


@pytest.mark.parametrize("name", [JAN, LLAMA_CPP])
def test_a_message_with_the_id_of_another_one_is_counted(tmp_path, name):
    good = lines_of(name)
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join([*good, good[3]]))
    assert "1 repeated message left out" in left_out(path)[-1]


def test_a_record_of_llama_cpp_of_an_unknown_type_is_counted(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join([*lines_of(LLAMA_CPP), '{"type": "note", "text": "x"}']))
    (session,) = chats_of(path)
    assert len(session.tree) == 6
    assert left_out(path) == ["“Sorting”: 1 damaged message left out"]


def test_a_content_of_llama_cpp_may_be_a_list_of_texts(tmp_path):
    parts = [{"type": "text", "text": "hello"}]
    path = tmp_path / "chats.json"
    path.write_text(json.dumps(_changed(value_of(LLAMA_CPP), ("messages", 2, "content"), parts)))
    (session,) = chats_of(path)
    assert session.tree[1].text.endswith("hello")
    assert left_out(path) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"content_type": "super_widget", "widget": {"a": 1}}, "1 super_widget"),
        ({"content_type": "text", "parts": [5]}, "1 unknown part"),
        ({"content_type": "code", "text": 5}, "1 code"),
        ({"content_type": "code", "language": "unknown", "text": ""}, None),
        ({"content_type": "text", "parts": [""]}, None),
    ],
    ids=str,
)
def test_a_message_of_chatgpt_of_another_kind_is_counted_unless_it_is_empty(
    tmp_path, content, words
):
    path = tmp_path / "conversations.json"
    place = (0, "mapping", "a1", "message", "content")
    path.write_text(json.dumps(_changed(value_of(CHATGPT), place, content)))
    assert len(chats_of(path)[0].tree) == 5
    counted = ", ".join(["1 image", words] if words else ["1 image"])
    (omission,) = left_out(path)
    kinds = omission.partition(": ")[2].removesuffix(" left out")
    assert {*counted.split(", ")} == {*kinds.split(", ")}


@pytest.mark.parametrize(("name", "wrong"), each_pair([JAN, LLAMA_CPP], WRONG))
def test_a_wrong_value_of_a_line_costs_that_line_only(tmp_path, name, wrong):
    records = [json.loads(line) for line in lines_of(name)]
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    count = len(chats_of(path)[0].tree)
    for place in [place for place in _places(records) if place]:
        path.write_text("\n".join(map(json.dumps, _changed(records, place, wrong))))
        found = sum(len(session.tree) for session in chats_of(path))
        assert found >= count - 4, place  # with its calls and results
        is_whole = found >= count or wrong == "x"  # which is a good text
        assert is_whole or left_out(path) or not wrong, place


@pytest.mark.parametrize("wrong", WRONG_SQL)
def test_a_wrong_value_of_a_row_costs_that_row_only(tmp_path, wrong):
    made = foreign_file(tmp_path, "llm.sql")
    count = sum(len(session.tree) for session in chats_of(made))
    assert count
    path = tmp_path / "damaged.db"
    for table, column, row in _cells(made):
        path.write_bytes(made.read_bytes())
        change = f'update "{table}" set "{column}" = {wrong} where rowid = {row}'  # noqa: S608
        with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.Error):
            connection.execute(change)
            connection.commit()
        found = sum(len(session.tree) for session in chats_of(path))
        assert found >= count - 3, (table, column, row)


def _cells(path):
    """Return table, column and row of the values of a database that may be wrong.

    Without the others a chat has no messages, or a message no place.
    """
    with closing(sqlite3.connect(path)) as connection:
        query = "select m.name, c.name from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table'"
        for table, column in connection.execute(query).fetchall():
            is_link = column in _LINKS or (table, column) in _KEYS
            if "fts" not in table and not is_link:
                rows = connection.execute(f'select rowid from "{table}"')  # noqa: S608 - a constant
                yield from ((table, column, row) for (row,) in rows)
