from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.base.errors import AnswerUnfit, RequestInvalid
from lmchat.core.answers.json_schema import Schema, SchemaOutput

_DRAFT_7 = "http://json-schema.org/draft-07/schema#"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def test_a_misfit_is_told_with_its_path():
    for value, misfit in (
        ({"name": "Ada", "age": 36}, ""),
        ({"name": "Ada", "age": 36.0}, ""),
        ({"name": "Ada", "age": "36"}, 'at $.age: "36" is not of type "integer"'),
        ({"name": "Ada", "age": -1}, "at $.age: -1 is less than the minimum of 0"),
        ({}, 'at $: "name" is a required property'),
    ):
        assert Schema(PERSON).misfit(value) == misfit


def test_what_is_no_schema_is_refused_with_the_path():
    for schema, why in (
        (
            {"type": "strin"},
            "at $.type: \"strin\" is not valid under any of the schemas listed in the 'anyOf' keyword",
        ),
        (
            {"properties": {"a": {"minimum": "1"}}},
            'at $.properties.a.minimum: "1" is not of type "number"',
        ),
        ({"pattern": "["}, 'at $.pattern: "[" is not a "regex"'),
        ({"$ref": "#/$defs/a"}, "Pointer '/$defs/a' does not exist"),
        ({"items": {"$ref": "a.json"}}, "file:///a.json is another document"),
        ({"$id": "http://a/b", "items": {"$ref": "c"}}, "http://a/c is another document"),
        ([], "it must be a JSON object"),
        ({"default": {1, 2}}, "it is not valid JSON"),
    ):
        with pytest.raises(RequestInvalid) as caught:
            Schema(schema)
        assert str(caught.value) == f"This JSON schema cannot be used: {why}."


_NOTHING = "it has no keyword that checks anything."


def test_the_objects_around_a_schema_in_requests_are_taken_off():
    schema = {"type": "object", "required": ["kind"]}
    for wrapper in (
        {"name": "seed", "schema": schema},
        {"name": "seed", "description": "One seed", "strict": True, "schema": schema},
        {"type": "json_schema", "name": "seed", "schema": schema},
        {"type": "json_schema", "json_schema": {"name": "seed", "schema": schema}},
        {"json_schema": {"schema": schema}},
    ):
        wanted = SchemaOutput(wrapper)
        assert wanted.output.schema == schema
        with pytest.raises(AnswerUnfit, match='at \\$: "kind" is a required property'):
            wanted.value_in('{"a": 1}')
        assert wanted.value_in(" ", thought='{"kind": 1}') == {"kind": 1}
        with pytest.raises(AnswerUnfit):
            wanted.value_in("None.", thought='{"kind": 1}')
    for other in ({"type": "json_schema"}, {"type": "json_schema", "json_schema": schema}):
        with pytest.raises(RequestInvalid):
            Schema(other)
    assert SchemaOutput({**schema, "schema": {"type": "array"}}).output.schema["type"] == "object"


def test_a_schema_that_checks_nothing_is_refused_and_unknown_names_are_told():
    for schema in (
        {},
        {"name": "Emma", "year": 1815},  # an example
        {"title": "Emma", "description": "A novel"},
        {"$schema": _DRAFT_7, "$defs": {"a": {"type": "string"}}, "default": 1},
        {"requird": ["a"]},
        {"name": "seed", "parameters": {"type": "object"}},
        {"name": "seed", "schema": {}},
        {"name": "seed", "schema": True},
    ):
        with pytest.raises(RequestInvalid, match=_NOTHING):
            Schema(schema)
    for schema in (True, False):
        with pytest.raises(RequestInvalid, match="it must be a JSON object"):
            Schema(schema)
    for more, names in (
        ({}, ""),
        ({"title": "a", "$id": "b", "$defs": {}, "examples": [], "$comment": ""}, ""),
        ({"requird": ["a"], "nullable": True}, "nullable, requird"),
        ({"Properties": {}, "a\x1b[2J": 1}, "Properties, a␛[2J"),
    ):
        note = SchemaOutput({"type": "object", **more}).note
        assert note.rpartition(": ")[2] == names


def test_nothing_that_a_schema_names_is_fetched(monkeypatch):
    for name in ("$ref", "$dynamicRef", "$schema", "$id"):

        def connect(*_, **__):
            raise AssertionError("somebody wants to fetch")

        monkeypatch.setattr(socket, "create_connection", connect)
        monkeypatch.setattr(socket.socket, "connect", connect)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/schema.json"
            schema = {name: url, "type": "integer"}
            if name == "$id":
                assert Schema(schema).misfit("a") == 'at $: "a" is not of type "integer"'
            else:
                with pytest.raises(RequestInvalid):
                    Schema(schema)


def test_what_a_server_gets_is_a_copy_without_the_name_of_the_draft():
    given = {"$schema": _DRAFT_7, "type": "object"}
    wanted = SchemaOutput(given)
    given["type"] = "array"
    assert wanted.output.schema == {"type": "object"}


def test_a_pattern_that_would_take_forever_ends():
    assert Schema({"pattern": "^(?=a)(a+)+$"}).misfit("a" * 60 + "b")


def test_a_schema_with_900_levels_is_refused_and_one_with_4000_references_is_used():
    deep: dict[str, object] = {}
    for _ in range(900):
        deep = {"items": deep}
    with pytest.raises(RequestInvalid, match="This JSON schema cannot be used: "):
        Schema(deep)
    parts = {f"{index}": {"$ref": f"#/$defs/{index + 1}"} for index in range(4000)}
    schema = Schema({"$defs": {**parts, "4000": {"type": "string"}}, "$ref": "#/$defs/0"})
    assert schema.misfit(1) == 'at $: 1 is not of type "string"'


def test_half_a_character_is_a_misfit():
    assert "cannot be checked" in Schema({"type": "string"}).misfit("\ud800")


_WORDS = (
    *(
        "type",
        "items",
        "properties",
        "$ref",
        "anyOf",
        "const",
        "enum",
        "not",
        "required",
        "$defs",
        "if",
    ),
    *("$id", "$schema", "$anchor", "a"),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(_WORDS), _JSON), _JSON)
def test_whatever_is_given_for_a_schema_only_our_own_refusal_is_raised(schema, value):
    with contextlib.suppress(RequestInvalid):
        assert isinstance(Schema(schema).misfit(value), str)
