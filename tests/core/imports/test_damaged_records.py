"""Damaged records of files: each costs itself only, and is counted."""

from __future__ import annotations

import copy
import json
import random

import pytest

from lmchat.base.errors import FileRefused
from tests.core.imports.foreign_chats import (
    CHATGPT,
    DATA,
    LLAMA_CPP,
    LM_STUDIO,
    lines_of,
    read_file,
    read_text,
    read_to_a_hole,
    read_value,
)

JAN = "jan/messages.jsonl"
WRONG = (5, "x", None, [], {}, 1e308, [5], {"a": []})
BROKEN_LINES = ('{"id": "x', "}", "garbage", '{"a": [', '{"a": [[[[[[', "{" * 5000)


def values_of(place):
    """Choose two wrong values for a place, others for another one."""
    return random.Random(str(place)).sample(WRONG, 2)  # noqa: S311 - no secret


def texts_of(session):
    return [message.text for message in session.tree or session.messages]


@pytest.mark.parametrize("name", [JAN, LLAMA_CPP])
def test_a_broken_line_costs_itself_only_wherever_it_is(tmp_path, name):
    path = tmp_path / "messages.jsonl"
    good = lines_of(name)
    ((whole,), _) = read_text("\n".join(good))
    for position in range(len(good) + 1):
        for broken in BROKEN_LINES:
            path.write_text(
                "\n".join([*good[:position], broken, *good[position:]]), encoding="utf-8"
            )
            (session,), lost = read_file(path)
            assert texts_of(session) == texts_of(whole), (position, broken)
            assert session.messages == whole.messages, (position, broken)
            assert f"line {position + 1}: it is damaged" in lost, broken


@pytest.mark.parametrize("name", ["chats.json", "chats.jsonl"])
def test_a_record_that_is_not_utf_8_costs_itself_only_and_is_named(tmp_path, name):
    texts = (b"a", "Möhren".encode("cp1252"), "Möhren".encode(), b"\\udc80")
    rows = [b'{"messages": [{"role": "user", "content": "%s"}]}' % text for text in texts]
    path = tmp_path / name
    path.write_bytes(b"\n".join(rows) if name.endswith("l") else b"[%s]" % b", ".join(rows))
    sessions, lost = read_file(path)
    assert [*map(texts_of, sessions)] == [["a"], ["Möhren"], ["\ufffd"]]
    where = "line 2" if name.endswith("l") else "record 2"
    assert lost == [f"{where}: it is not UTF-8"]
    path.write_bytes(rows[1])
    with pytest.raises(FileRefused, match="Its text is not UTF-8"):
        read_file(path)


def test_lines_without_any_json_are_not_called_json(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text("sow\nwater\n", encoding="utf-8")
    with pytest.raises(FileRefused, match="has no chat in a format that lmchat knows"):
        read_file(path)


def test_messages_before_the_hole_of_their_list_are_a_chat(tmp_path):
    path = tmp_path / "chat.json"
    rows = [json.dumps({"role": "user", "content": text}) for text in "ab"]
    path.write_text(f"[{', '.join(rows)}, {{, {rows[0]}]", encoding="utf-8")
    (session,), told = read_to_a_hole(path)
    assert texts_of(session) == ["a", "b"]
    assert told == "Record 3 is damaged: nothing from there on is imported."


def test_a_number_of_any_length_costs_nothing():
    chats = [[{"role": "user", "content": text, "n": 0}] for text in ("a", "b", "c")]
    text = json.dumps([{"messages": messages} for messages in chats])
    sessions, lost = read_text(text.replace('"n": 0', f'"n": {"9" * 5000}', 2))
    assert ([*map(texts_of, sessions)], lost) == ([["a"], ["b"], ["c"]], [])


@pytest.mark.parametrize("damaged", ["[]", "5", "{"])
def test_a_damaged_thread_file_of_jan_costs_only_what_it_says(tmp_path, damaged):
    message = {"role": "user", "content": [{"type": "text", "text": {"value": "Hello"}}]}
    (tmp_path / "messages.jsonl").write_text(
        json.dumps({"thread_id": "", **message}), encoding="utf-8"
    )
    (tmp_path / "thread.json").write_text(damaged, encoding="utf-8")
    ((session,), _) = read_file(tmp_path / "messages.jsonl")
    assert texts_of(session) == ["Hello"]


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


CONTAINERS = {
    LM_STUDIO: ("messages",),
    CHATGPT: (0, "mapping"),
    "open-webui.json": (0, "chat", "history", "messages"),
}
OTHER_VERSIONS = ("q1", "a1", "m3")  # are not read


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_wrong_value_costs_the_message_that_it_is_in_only(name):
    value = json.loads((DATA / name).read_text(encoding="utf-8"))
    container = CONTAINERS[name]
    (whole,), _ = read_value(value)
    for position in _places(value):
        if position == container[: len(position)]:  # below which all messages are
            continue
        is_inside = position[: len(container)] == container
        is_message = is_inside and len(position) == len(container) + 1 and position[-1] != "root"
        for wrong in values_of(position):
            (session,), left_out = read_value(_changed(value, position, wrong))
            lost = 4 if is_inside else 1  # with its calls and results; a system prompt
            assert session.header.message_count >= whole.header.message_count - lost, (
                position,
                wrong,
            )
            if is_message and position[-1] not in OTHER_VERSIONS and wrong and wrong != WRONG[-1]:
                assert any("damaged message" in words for words in left_out), (position, wrong)


def test_a_message_with_the_id_of_another_one_is_counted():
    for name in (JAN, LLAMA_CPP):
        good = lines_of(name)
        other = good[3].replace("Thanks", "Other").replace("Sort this", "Other")
        (session, *_), lost = read_text("\n".join([*good, other]))
        assert "1 repeated message" in lost[-1]
        assert not any("Other" in one.text for one in session.messages), "the first one counts"
