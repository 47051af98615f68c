"""Bodies of requests that `lmchat serve` passes on with changes."""

from __future__ import annotations

from starlette.requests import Request

from lmchat.serve.bodies import fields_of, read_body, with_changes


def test_all_fields_but_the_changed_ones_and_endpoint_stay_as_they_are():
    body = b'{"model":"a@ollama","":[1.0,  2],"endpoint":"x"}'
    assert with_changes(body, {"model": "a"}) == b'{"model":"a","":[1.0,  2]}'


async def test_a_byte_order_mark_before_a_body_is_dropped():
    async def receive():
        return {"type": "http.request", "body": b'\xef\xbb\xbf{"model": "tiny"}'}

    body = await read_body(Request({"type": "http"}, receive), limit_mb=1)
    assert body == b'{"model": "tiny"}'
    assert fields_of(body).model_name() == "tiny"
