"""`lmchat serve` in front of scripted servers: what passes, what is refused, and how it ends."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    Gate,
    finish,
    sse,
)
from tests.support.serving import serving


@pytest.fixture
def gateway(tmp_path, server):
    """`lmchat serve` in front of a plain server with the model `tiny`."""
    with serving(tmp_path, url=server.url) as program:
        yield program


def test_a_stream_comes_back_byte_for_byte_and_the_body_goes_out_so(gateway, server):
    events = [b"data: %d \xff\xf0 not even JSON\n\n" % number for number in range(50)]
    server.on(CHAT, sse(b": a comment\r\n", *events, finish(), DONE, every=7))
    body = b'{ "model" : "tiny","messages":[{"role":"user","content":"\\u0041"}], "x": 1.00 }'
    reply = gateway.post("/v1/chat/completions", content=body)
    assert server.seen(CHAT)[0].body == body
    end = b"data: " + json.dumps(finish()).encode() + b"\n\n" + DONE
    assert reply.content == b": a comment\r\n" + b"".join(events) + end
    assert reply.headers["content-type"] == "text/event-stream"


def test_a_chunk_is_passed_on_before_its_event_is_complete(gateway, server):
    gate = Gate()
    server.on(CHAT, sse(b'data: {"cho', gate, b'ices":[]}\n\n', DONE))
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    url = f"{gateway.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=10) as reply:
        chunks = reply.iter_raw()
        assert next(chunks) == b'data: {"cho'
        gate.open()
        assert b"".join(chunks) == b'ices":[]}\n\n' + DONE
