from __future__ import annotations

import pytest

from lmchat.proxy.json_values import rows
from lmchat.proxy.stream import ToolCalls


def put_together(*chunks):
    """Return {index: [id, name, arguments]} of all fragments."""
    calls, found = ToolCalls(), {}
    for chunk in chunks:
        for one in map(calls.read, rows(chunk)):
            entry = found.setdefault(one.index, ["", "", ""])
            entry[0] += one.call_id
            entry[1] += one.name
            entry[2] += one.arguments
    return found


def fragment(index=None, call_id=None, name=None, arguments=None):
    told = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in told.items() if value is not None}


TABLE = {
    "id and name count once, arguments add up": (
        [[fragment(0, "a", "f", "{")], [fragment(0, "a", "f", '"a"')], [fragment(0, "a", "", ":1}")]],
        {0: ["a", "f", '{"a":1}']},
    ),
    "several fragments of one call in one chunk": (
        [[fragment(0, "a", "f", "x"), fragment(0, arguments="y")]],
        {0: ["a", "f", "xy"]},
    ),
    "fragments of two calls in turn": (
        [
            [fragment(0, "a", "f")],
            [fragment(1, "b", "g", "{")],
            [fragment(0, "a", "", "1")],
            [fragment(1, arguments="}")],
            [fragment(0, arguments="2")],
        ],
        {0: ["a", "f", "12"], 1: ["b", "g", "{}"]},
    ),
    "without an index the id tells the call": (
        [[fragment(None, "a", "f", "1")], [fragment(None, "b", "g", "2")], [fragment(None, "a", None, "3")]],
        {0: ["a", "f", "13"], 1: ["b", "g", "2"]},
    ),
    "without index, id and name it is more of the call before": (
        [[fragment(None, "a", "f")], [fragment(arguments="1")], [fragment(arguments="2")]],
        {0: ["a", "f", "12"]},
    ),
    "complete calls without index and id, in one chunk": (
        [[fragment(name="f", arguments="{}"), fragment(name="g", arguments="{}")]],
        {0: ["", "f", "{}"], 1: ["", "g", "{}"]},
    ),
    "complete calls without index and id, chunk by chunk": (
        [[fragment(name="f", arguments="{}")], [fragment(name="g", arguments="{}")]],
        {0: ["", "f", "{}"], 1: ["", "g", "{}"]},
    ),
    "the same tool twice": (
        [[fragment(name="f", arguments="1")], [fragment(name="f", arguments="2")]],
        {0: ["", "f", "1"], 1: ["", "f", "2"]},
    ),
    "one index with two ids": (
        [
            [fragment(0, "a", "f", "1"), fragment(0, "b", "g", "2")],
            [fragment(0, arguments="3")],
            [fragment(0, "a", None, "4")],
            [fragment(1, "c", "h", "5")],
        ],
        {0: ["a", "f", "14"], 1: ["b", "g", "23"], 2: ["c", "h", "5"]},
    ),
    "an id of its own for each fragment": (
        [[fragment(0, "a", "f", "1")], [fragment(0, "b", "", "2")], [fragment(0, "c", None, "3")]],
        {0: ["a", "f", "123"]},
    ),
    "two indexes with one id": (
        [[fragment(0, "x", "f", "1"), fragment(1, "x", "g", "2")]],
        {0: ["x", "f", "1"], 1: ["x", "g", "2"]},
    ),
    "an index that is told once is found by its id": (
        [[fragment(0, "a", "f", "1")], [fragment(None, "a", None, "2")]],
        {0: ["a", "f", "12"]},
    ),
    "arguments that are an object become text": (
        [[fragment(0, "a", "f", {"x": [1]})]],
        {0: ["a", "f", '{"x":[1]}']},
    ),
}


@pytest.mark.rule("R-20")
@pytest.mark.parametrize("name", TABLE)
def test_fragments_are_put_together(name):
    chunks, found = TABLE[name]
    assert put_together(*chunks) == found


def test_rubbish_is_no_call():
    assert put_together(None, "x", [None, 7], {}) == {}
    assert put_together([{"index": "x", "id": 7, "function": "f"}]) == {0: ["", "", ""]}
