"""Bodies of requests that `lmchat serve` passes on with changes."""

from __future__ import annotations

import json

import pytest
from starlette.requests import Request

from lmchat.app.leaves.serve.bodies import add_properties, fields_of, read_body, with_changes
from lmchat.base.errors import BodyTooLarge, RequestInvalid
from tests.support.programs import ROOT


def test_every_text_of_the_suite_for_json_is_passed_on_or_refused():
    suite = ROOT / "tests" / "core" / "answers" / "data" / "json_test_suite.jsonl"
    for line in suite.read_text(encoding="utf-8").splitlines():
        name, text = json.loads(line)
        body = b'{"model": "a@ollama", "x": ' + text.encode("latin-1") + b"}"
        try:
            assert fields_of(body).model == "a@ollama", name
            assert with_changes(body, {"model": "a"}).startswith(b'{"model":"a"'), name
        except RequestInvalid:
            assert not name.startswith("y_"), name


def test_all_fields_but_the_changed_ones_and_endpoint_stay_as_they_are():
    body = b'{"model":"a@ollama","":[1.0,  2],"endpoint":"x"}'
    assert with_changes(body, {"model": "a"}) == b'{"model":"a","":[1.0,  2]}'


def test_a_schema_of_a_tool_gets_the_properties_that_it_lacks_and_all_else_stays():
    def tool(**schema):
        return {"type": "function", "function": {"name": "look", "parameters": schema}}

    full = tool(properties={"a": {}})
    empty = tool(properties={})
    tools = [full, tool(type="object"), tool(), 3, {"type": "x"}]
    assert add_properties(tools)
    assert tools == [full, tool(type="object", properties={}), empty, 3, {"type": "x"}]
    assert not add_properties(tools)
    assert not add_properties("odd")


def test_a_name_of_a_model_counts_in_small_letters_only_and_beside_no_other():
    with pytest.raises(RequestInvalid, match="the name of a model is needed"):
        fields_of(b'{"Model": "far"}').model_name()
    for other in (b"MODEL", b"mOdel", b"\\u004dodel"):
        with pytest.raises(RequestInvalid, match="names its model twice"):
            fields_of(b'{"model": "tiny", "' + other + b'": "far"}')


async def test_a_byte_order_mark_before_a_body_is_dropped():
    async def receive():
        return {"type": "http.request", "body": b'\xef\xbb\xbf{"model": "tiny"}'}

    body = await read_body(Request({"type": "http"}, receive), limit_mb=1)
    assert body == b'{"model": "tiny"}'
    assert fields_of(body).model_name() == "tiny"
    with pytest.raises(BodyTooLarge):
        await read_body(Request({"type": "http"}, receive), limit_mb=1e-5)


def test_wrong_messages_are_refused_with_the_reason():
    for messages, reason in (
        ("3", "messages array: messages must be a list"),
        ("{}", "messages array: messages must be a list"),
        ("[]", "messages array: at least one message is needed"),
        ("null", "messages array: at least one message is needed"),
        ("[3]", "messages array: message 1 is not an object"),
        ('[{"role": "user", "content": 0}]', "content: that of message 1 must be text or parts"),
        ('[{"role": "user", "content": {}}]', "content: that of message 1 must be text or parts"),
        ('[{"role": "user", "content": ""}]', "content: message 1 has no text"),
        ('[{"role": "user"}]', "content: message 1 has no text"),
    ):
        fields = fields_of(f'{{"model": "tiny", "messages": {messages}}}'.encode())
        with pytest.raises(RequestInvalid, match=f"^Invalid .*{reason}"):
            fields.check_messages()
