from __future__ import annotations

import pytest

from lmchat.proxy.chunks import ToolCalls


def put_together(*chunks):
    """Return {index: [id, name, arguments]} of all fragments."""
    calls, found = ToolCalls(), {}
    for chunk in chunks:
        for one in calls.read(chunk):
            entry = found.setdefault(one.index, ["", "", ""])
            entry[0] += one.call_id
            entry[1] += one.name
            entry[2] += one.arguments
    return found


def fragment(index=None, call_id=None, name=None, arguments=None):
    told = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in told.items() if value is not None}


@pytest.mark.rule("R-20")
def test_id_and_name_count_once_and_arguments_add_up():
    found = put_together(
        [fragment(0, "call_1", "f", "{")],
        [fragment(0, "call_1", "f", '"a"')],
        [fragment(0, "call_1", "", ":1}")],
    )
    assert found == {0: ["call_1", "f", '{"a":1}']}


def test_several_fragments_of_one_call_in_one_chunk():
    assert put_together([fragment(0, "a", "f", "x"), fragment(0, arguments="y")]) == {0: ["a", "f", "xy"]}


@pytest.mark.rule("R-20")
def test_without_an_index_the_id_tells_the_call():
    found = put_together(
        [fragment(None, "a", "f", "1")], [fragment(None, "b", "g", "2")], [fragment(None, "a", None, "3")]
    )
    assert found == {0: ["a", "f", "13"], 1: ["b", "g", "2"]}


def test_what_has_no_index_no_id_and_no_name_is_more_of_the_call_before():
    assert put_together([fragment(None, "a", "f")], [fragment(arguments="1")], [fragment(arguments="2")]) == {
        0: ["a", "f", "12"]
    }


@pytest.mark.rule("R-20")
@pytest.mark.parametrize("is_one_chunk", [True, False])
def test_complete_calls_without_index_and_id_stay_apart(is_one_chunk):
    calls = [fragment(name="f", arguments="{}"), fragment(name="g", arguments="{}")]
    found = put_together(calls) if is_one_chunk else put_together(*([call] for call in calls))
    assert found == {0: ["", "f", "{}"], 1: ["", "g", "{}"]}


def test_the_same_tool_asked_for_twice_is_two_calls():
    assert put_together([fragment(name="f", arguments="1")], [fragment(name="f", arguments="2")]) == {
        0: ["", "f", "1"],
        1: ["", "f", "2"],
    }


def test_one_index_with_two_ids_is_two_calls():
    found = put_together(
        [fragment(0, "a", "f", "1"), fragment(0, "b", "g", "2")],
        [fragment(0, arguments="3")],
        [fragment(0, "a", None, "4")],
        [fragment(1, "c", "h", "5")],
    )
    assert found == {0: ["a", "f", "14"], 1: ["b", "g", "23"], 2: ["c", "h", "5"]}


def test_an_id_of_its_own_for_each_fragment_begins_no_call():
    found = put_together(
        [fragment(0, "a", "f", "1")], [fragment(0, "b", "", "2")], [fragment(0, "c", None, "3")]
    )
    assert found == {0: ["a", "f", "123"]}


def test_two_indexes_with_one_id_are_two_calls():
    assert put_together([fragment(0, "x", "f", "1"), fragment(1, "x", "g", "2")]) == {
        0: ["x", "f", "1"],
        1: ["x", "g", "2"],
    }


def test_an_index_that_is_told_once_is_found_by_its_id():
    assert put_together([fragment(0, "a", "f", "1")], [fragment(None, "a", None, "2")]) == {
        0: ["a", "f", "12"]
    }


@pytest.mark.rule("R-20")
def test_arguments_that_are_an_object_become_text():
    assert put_together([fragment(0, "a", "f", {"x": [1]})]) == {0: ["a", "f", '{"x":[1]}']}


def test_rubbish_is_no_call():
    assert put_together(None, "x", [None, 7], {}) == {}
    assert put_together([{"index": "x", "id": 7, "function": "f"}]) == {0: ["", "", ""]}
