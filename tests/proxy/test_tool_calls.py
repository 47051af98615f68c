from __future__ import annotations

from lmchat.proxy.tool_calls import ToolCalls


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


def test_id_and_name_count_once_and_arguments_add_up():
    found = put_together(
        [fragment(0, "call_1", "f", "{")],
        [fragment(0, "call_1", "f", '"a"')],
        [fragment(0, "call_1", "", ":1}")],
    )
    assert found == {0: ["call_1", "f", '{"a":1}']}


def test_several_fragments_of_one_call_in_one_chunk():
    assert put_together([fragment(0, "a", "f", "x"), fragment(0, arguments="y")]) == {0: ["a", "f", "xy"]}


def test_without_an_index_the_id_tells_the_call():
    found = put_together(
        [fragment(None, "a", "f", "1")], [fragment(None, "b", "g", "2")], [fragment(None, "a", None, "3")]
    )
    assert found == {0: ["a", "f", "13"], 1: ["b", "g", "2"]}


def test_without_index_and_id_it_is_the_call_before():
    assert put_together([fragment(None, "a", "f")], [fragment(arguments="1")], [fragment(arguments="2")]) == {
        0: ["a", "f", "12"]
    }


def test_arguments_that_are_an_object_become_text():
    assert put_together([fragment(0, "a", "f", {"x": [1]})]) == {0: ["a", "f", '{"x":[1]}']}


def test_rubbish_is_no_call():
    assert put_together(None, "x", [None, 7], {}) == {}
    assert put_together([{"index": "x", "id": 7, "function": "f"}]) == {0: ["", "", ""]}
