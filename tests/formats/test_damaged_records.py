"""Damaged records of files: each costs itself only, and is counted."""

from __future__ import annotations

import copy
import json
import random
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
    lines_of,
    outline,
    read_file,
    read_lines,
    read_text,
    read_value,
)

JAN = "jan/messages.jsonl"
WRONG = (5, "x", None, [], {}, 1e308, [5], {"a": []})
WRONG_SQL = ("null", "5", "x'ff'", "'{'", "1e999", "''", "'[1, {}]'")
BROKEN_LINES = ('{"id": "x', "}", "garbage", '{"a": [', '{"a": [[[[[[', "{" * 5000)
_LINKS = ("hash", "parent_hash", "tip_message_hash")
_KEYS = (("threads", "id"),)
TABLES = ("threads", "turns", "messages", "parts", "attachments", "fragments")
# wrong values of each place
FEW_AND_MANY = [1, pytest.param(3, marks=[pytest.mark.slow, pytest.mark.timeout(120)])]


def values_of(place, values, count):
    """Choose wrong values for a place, others for another one."""
    return random.Random(str(place)).sample(values, min(count, len(values)))  # noqa: S311 - no secret


def texts_of(session):
    return [message.text for message in session.tree]


@pytest.mark.parametrize("name", [JAN, LLAMA_CPP])
def test_a_broken_line_costs_itself_only_wherever_it_is(tmp_path, name):
    path = tmp_path / "messages.jsonl"
    good = lines_of(name)
    ((whole,), _) = read_text("\n".join(good))
    for place in range(len(good) + 1):
        for broken in BROKEN_LINES:
            path.write_text("\n".join([*good[:place], broken, *good[place:]]))
            (session,), lost = read_file(path)
            assert texts_of(session) == texts_of(whole), (place, broken)
            assert session.messages == whole.messages, (place, broken)
            assert f"line {place + 1}: it is damaged" in lost, broken


def test_messages_of_a_chat_whose_first_line_is_broken_do_not_go_to_the_chat_before_it():
    first = lines_of(LLAMA_CPP)
    second = [line.replace("c0ffee-1", "c0ffee-2") for line in first]
    (one, two), _ = read_text("\n".join([*first, second[0][:-1], *second[1:]]))
    assert texts_of(one) == texts_of(two)
    (alone,), _ = read_text("\n".join([first[0][:-1], *first[1:]]))
    assert texts_of(alone) == texts_of(one)


def test_an_object_of_a_list_that_is_no_json_costs_itself_only():
    chat = json.loads((DATA / CHATGPT).read_text())[0]
    for indent in (None, 1):
        texts = [
            json.dumps(chat | {"conversation_id": str(number)}, indent=indent)
            for number in range(3)
        ]
        texts[1] = texts[1].replace(":", "", 1)
        sessions, lost = read_text(f"[{', '.join(texts)}]")
        assert len(sessions) == 2
        assert "record 2: it is damaged" in lost


def test_hundreds_of_broken_lines_or_messages_are_named_and_the_others_counted():
    good = lines_of(JAN)
    (session,), lost = read_text("\n".join([*good[:2], *["{"] * 1500, *good[2:]]))
    assert len(session.tree) >= len(good)
    assert "line 3: it is damaged" in lost
    assert "600 more records: they are damaged" in lost
    wrong = {"role": "pirate", "content": "arr"}
    _, lost = read_value([{"role": "user", "content": "Hi"}, *[wrong] * 1500])
    assert len(lost) == 901
    assert lost[-1] == "600 more messages: they are damaged or incomplete"


def test_a_message_of_jan_may_be_a_plain_text():
    rows = [json.loads(line) for line in lines_of(JAN)]
    for row in rows:
        row["content"] = f"plain {row['id']}"
        row["metadata"] = {}
    (session,), _ = read_lines(rows)
    assert texts_of(session) == [f"plain {row['id']}" for row in rows]
    rows[1]["content"] = 5
    (session,), lost = read_lines(rows)
    assert len(session.messages) == len(rows) - 1
    assert "1 damaged message" in lost[0]


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


@pytest.mark.parametrize("count", FEW_AND_MANY)
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_wrong_value_costs_the_message_that_it_is_in_only(name, count):
    value = value_of(name)
    container = CONTAINERS[name]
    (whole,), _ = read_value(value)
    for place in _places(value):
        if place == container[: len(place)]:  # below which all messages are
            continue
        is_inside = place[: len(container)] == container
        is_message = is_inside and len(place) == len(container) + 1 and place[-1] != "root"
        for wrong in values_of(place, WRONG, count * 2):
            (session,), left_out = read_value(_changed(value, place, wrong))
            lost = 4 if is_inside else 1  # with its calls and results; a system prompt
            assert len(session.tree) >= len(whole.tree) - lost, (place, wrong)
            if is_message and wrong and wrong != WRONG[-1]:
                assert any("damaged message" in words for words in left_out), (place, wrong)


@pytest.mark.parametrize("name", [*CONTAINERS, JAN])
def test_a_text_of_another_shape_is_read_or_counted(name):
    value = [json.loads(line) for line in lines_of(name)] if name == JAN else value_of(name)
    container = CONTAINERS.get(name, ())
    _, before = read_value(value)
    for place in _places(value):
        is_text = {*place[-1:]} & {*TEXTS} or place[-2:-1] == ("parts",)
        is_inside = place[: len(container)] == container
        if not is_inside or not is_text or _is_hidden(value, place):
            continue
        for shape in SHAPES:
            (session,), lost = read_value(_changed(value, place, shape))
            assert str(_FIGURE) in str(outline(session)) or lost != before, (place, shape)


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


def test_a_message_of_llama_cpp_with_a_wrong_id_or_type_costs_itself_only():
    lost = ["“Sorting”: 1 damaged message left out"]
    for key in (5, None, "", []):
        wrong = _changed(value_of(LLAMA_CPP), ("messages", 2, "id"), key)
        (session,), left_out = read_value(wrong)
        assert (len(session.tree), left_out) == (5, lost), key
    (session,), left_out = read_text(
        "\n".join([*lines_of(LLAMA_CPP), '{"type": "note", "text": "x"}'])
    )
    assert (len(session.tree), left_out) == (6, lost)


def test_a_message_with_the_id_of_another_one_is_counted():
    for name in (JAN, LLAMA_CPP):
        good = lines_of(name)
        _, lost = read_text("\n".join([*good, good[3]]))
        assert "1 repeated message left out" in lost[-1]


def test_a_content_of_llama_cpp_may_be_a_list_of_texts():
    parts = [{"type": "text", "text": "hello"}]
    value = _changed(value_of(LLAMA_CPP), ("messages", 2, "content"), parts)
    (session,), lost = read_value(value)
    assert session.tree[1].text.endswith("hello")
    assert lost == []


def test_a_message_of_chatgpt_of_another_kind_is_counted_unless_it_is_empty():
    kinds = (
        ({"content_type": "super_widget", "widget": {"a": 1}}, {"1 super_widget"}),
        ({"content_type": "text", "parts": [5]}, {"1 unknown part"}),
        ({"content_type": "code", "text": 5}, {"1 code"}),
        ({"content_type": "code", "language": "unknown", "text": ""}, set()),
        ({"content_type": "text", "parts": [""]}, set()),
    )
    place = (0, "mapping", "a1", "message", "content")
    for content, counted in kinds:
        (session,), (omission,) = read_value(_changed(value_of(CHATGPT), place, content))
        assert len(session.tree) == 5
        found = omission.partition(": ")[2].removesuffix(" left out")
        assert {*found.split(", ")} == {"1 image"} | counted


@pytest.mark.parametrize("count", FEW_AND_MANY)
@pytest.mark.parametrize("name", [JAN, LLAMA_CPP])
def test_a_wrong_value_of_a_line_costs_that_line_only(name, count):
    records = [json.loads(line) for line in lines_of(name)]
    ((whole,), _) = read_lines(records)
    for place in filter(None, _places(records)):
        for wrong in values_of(place, WRONG, count * 2):
            sessions, lost = read_lines(_changed(records, place, wrong))
            found = sum(len(session.tree) for session in sessions)
            assert found >= len(whole.tree) - 4, (place, wrong)  # with its calls and results
            is_whole = found >= len(whole.tree) or wrong == "x"  # which is a good text
            assert is_whole or lost or not wrong, (place, wrong)


@pytest.mark.parametrize("count", FEW_AND_MANY)
def test_a_wrong_value_of_a_row_costs_that_row_only(tmp_path, count):
    made = foreign_file(tmp_path, "llm.sql")
    messages = sum(len(session.tree) for session in chats_of(made))
    assert messages
    content = made.read_bytes()
    path = tmp_path / "damaged.db"
    for cell in _cells(made):
        for wrong in values_of(cell, WRONG_SQL, count - 1 or 1):
            path.write_bytes(content)
            table, column, row = cell
            change = f'update "{table}" set "{column}" = {wrong} where rowid = {row}'  # noqa: S608
            with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.Error):
                connection.execute("pragma synchronous = off")
                connection.execute(change)
                connection.commit()
            found = sum(len(session.tree) for session in chats_of(path))
            assert found >= messages - 3, (cell, wrong)


def _cells(path):
    """Yield table, column and row of the values of a database that may be wrong.

    Without the others a chat has no messages, or a message no place.
    """
    with closing(sqlite3.connect(path)) as connection:
        for table in TABLES:
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
            rows = connection.execute(f"select rowid from {table}").fetchall()  # noqa: S608
            for column in columns:
                if column not in _LINKS and (table, column) not in _KEYS:
                    yield from ((table, column, row) for (row,) in rows)
