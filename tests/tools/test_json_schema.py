from __future__ import annotations

import contextlib
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.errors import AnswerUnfit, RequestInvalid
from lmchat.tools.json_schema import MAX_SCHEMA_CHARS, Schema, WantedValue

_DRAFT_7 = "http://json-schema.org/draft-07/schema#"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def test_a_misfit_is_told_with_its_path():
    for value, misfit in (
        ({"name": "Ada"}, ""),
        ({"name": "Ada", "age": 36}, ""),
        ({"name": "Ada", "age": 36.0}, ""),
        ({"name": "Ada", "age": "36"}, "at $.age: '36' is not of type 'integer'"),
        ({"name": "Ada", "age": True}, "at $.age: True is not of type 'integer'"),
        ({"name": "Ada", "age": -1}, "at $.age: -1 is less than the minimum of 0"),
        ({}, "at $: 'name' is a required property"),
        ([], "at $: [] is not of type 'object'"),
        (None, "at $: None is not of type 'object'"),
    ):
        assert Schema(PERSON).misfit(value) == misfit


def test_what_is_no_schema_is_refused_with_the_path():
    for schema, why in (
        ({"type": "strin"}, "at $.type: 'strin' is not valid under any of the given schemas"),
        (
            {"properties": {"a": {"minimum": "1"}}},
            "at $.properties.a.minimum: '1' is not of type 'number'",
        ),
        ({"pattern": "["}, "at $.pattern: '[' is not a 'regex'"),
        ({"$ref": "#/$defs/a"}, "$ref '#/$defs/a' does not exist in it"),
        ({"items": {"$ref": "a.json"}}, "$ref 'a.json' does not exist in it"),
        ({"$dynamicRef": "#nowhere"}, "$dynamicRef '#nowhere' does not exist in it"),
        ({"$schema": _DRAFT_7, "items": {"$ref": "#a"}}, "$ref '#a' does not exist in it"),
        ([], "it must be a JSON object"),
        (True, "it must be a JSON object"),
        ({"default": float("nan")}, "it is not valid JSON"),
        ({"default": {1, 2}}, "it is not valid JSON"),
        (
            {"description": "a" * MAX_SCHEMA_CHARS},
            "it has 256019 characters, at most 256000 are allowed",
        ),
    ):
        with pytest.raises(RequestInvalid) as caught:
            Schema(schema)
        assert str(caught.value) == f"This JSON schema cannot be used: {why}."


def test_nothing_that_a_schema_names_is_fetched(monkeypatch):
    for name in ("$ref", "$dynamicRef", "$schema", "$id"):

        def connect(*_, **__):
            raise AssertionError("somebody wants to fetch")

        monkeypatch.setattr(socket, "create_connection", connect)
        monkeypatch.setattr(socket.socket, "connect", connect)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/schema.json"
            schema = {name: url, "type": "integer"}
            if "ef" in name:
                with pytest.raises(RequestInvalid, match="does not exist in it"):
                    Schema(schema)
            else:
                assert Schema(schema).misfit("a") == "at $: 'a' is not of type 'integer'"


def test_what_a_server_gets_is_a_copy_without_the_name_of_the_draft():
    given = {"$schema": _DRAFT_7, "type": "object"}
    wanted = WantedValue(given)
    given["type"] = "array"
    assert wanted.output.schema == {"type": "object"}


LIMIT_S = 0.5


@pytest.fixture
def _brief(monkeypatch):
    monkeypatch.setattr("lmchat.tools.json_schema.CHECK_S", LIMIT_S)


_WAYS = [{"properties": {"l": {"$ref": "#"}, name: {}}, "required": [name]} for name in ("a", "b")]
_PART = {"$schema": _DRAFT_7, "$id": "http://a/b", "pattern": "^(a+)+$"}


@pytest.mark.usefixtures("_brief")
async def test_a_check_that_takes_forever_is_stopped_in_time():
    for schema, text in (
        ({"pattern": "^(a+)+$"}, json.dumps("a" * 60 + "b")),
        ({"$defs": {"a": _PART}, "items": _PART, "$ref": "#/$defs/a"}, json.dumps("a" * 60 + "b")),
        ({"anyOf": _WAYS}, '{"l": ' * 60 + "{}" + "}" * 60),
    ):
        with pytest.raises(AnswerUnfit, match=r"it could not be checked within 0.5 s\."):
            await WantedValue(schema).value_in(text)


@pytest.mark.usefixtures("_brief")
async def test_a_schema_whose_own_check_takes_forever_is_refused_in_time():
    enum = [{"a": number} for number in range(12_000)]  # the fourth draft compares each with each
    wanted = WantedValue({"$schema": "http://json-schema.org/draft-04/schema#", "enum": enum})
    with pytest.raises(RequestInvalid, match=r"it could not be checked within 0.5 s\."):
        await wanted.require_valid()


async def test_an_invalid_schema_is_refused_before_it_is_used():
    await WantedValue(PERSON).require_valid()
    await WantedValue().require_valid()
    with pytest.raises(RequestInvalid, match=r"at \$.type: 'strin' is not valid"):
        await WantedValue({"type": "strin"}).require_valid()


async def test_where_no_process_can_be_started_the_error_says_so(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(
        AnswerUnfit, match="could not be checked, no process started: No such file or directory"
    ):
        await WantedValue(PERSON).value_in("{}")


def test_a_schema_that_refers_to_itself_without_end_is_told():
    assert Schema({"$ref": "#"}).misfit(1) == "the schema refers to itself endlessly"


def test_a_value_that_the_library_cannot_check_is_told():
    assert Schema({"multipleOf": 0.1}).misfit(10**309) == "it cannot be checked: OverflowError"


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
