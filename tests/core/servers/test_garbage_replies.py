"""Whatever a server sends, nothing but our own errors comes out."""

from __future__ import annotations

import json

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.core.config.settings import LimitSettings, Settings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import ReasoningDelta, StreamFinished, TextDelta
from tests.support.client_calls import ask, events_of
from tests.support.scripted_products import PRODUCT_NAMES

HERE = Endpoint.parse("localhost:1234")
QUICK = Settings(limits=LimitSettings(retries=1, requests_per_minute=10_000))
KEYS = [
    *(
        "choices",
        "delta",
        "message",
        "content",
        "index",
        "finish_reason",
        "model",
        "id",
        "type",
        "text",
    ),
    *(
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "tool_calls",
        "function",
        "name",
        "arguments",
    ),
    *(
        "usage",
        "timings",
        "prompt_progress",
        "total",
        "cache",
        "processed",
        "predicted_n",
        "prompt_n",
    ),
    *("data", "object", "meta", "status", "args", "value", "models", "key", "error"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inside, max_size=4)
    ),
    max_leaves=15,
)
CHUNK = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {"delta": st.dictionaries(st.sampled_from(KEYS), JSON)},
                optional={
                    "index": st.integers(0, 3) | JSON,
                    "message": st.dictionaries(st.sampled_from(KEYS), JSON),
                    "finish_reason": st.sampled_from(["stop", "error", None]) | JSON,
                    "error": JSON,
                },
            ),
            max_size=2,
        )
    },
    optional={
        "usage": JSON,
        "timings": JSON,
        "prompt_progress": JSON,
        "model": JSON,
        "error": JSON,
    },
)
PIECE = st.one_of(
    CHUNK.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n"),
    JSON.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n"),
    st.binary(max_size=30),
    st.sampled_from(
        [b"data: [DONE]\n\n", b": x\n\n", b"event: error\n", b"\r", b"\n\n", b"data: "]
    ),
)


def client_for(status: int, headers: dict[str, str], *body: bytes) -> HttpServerClient:
    async def pieces():
        for piece in body:
            yield piece

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, content=pieces())

    return HttpServerClient(QUICK, transport=httpx.MockTransport(answer))


@settings(max_examples=60)
@given(
    st.lists(PIECE, max_size=8),
    st.sampled_from([200, 200, 200, 201, 302, 400, 404, 418, 500]),
    st.sampled_from(["text/event-stream", "application/json", "text/html", "", "text/plain"]),
    st.sampled_from(list(PRODUCT_NAMES)),
)
async def test_no_answer_raises_anything_but_our_own_errors(pieces, status, content_type, product):
    client = client_for(status, {"content-type": content_type}, *pieces)
    events, error = await events_of(client, ask(HERE, product=product))
    await client.aclose()
    assert (error is None) == bool(events and isinstance(events[-1], StreamFinished))
    assert error is None or "internal error" not in error.message, error.details
    for event in events:
        if isinstance(event, TextDelta | ReasoningDelta):
            event.text.encode()
            assert event.text


@settings(max_examples=30)
@given(
    JSON,
    st.sampled_from([200, 401, 403, 404, 500, 503]),
    st.dictionaries(
        st.sampled_from(["server", "x-powered-by", "x-litellm-version"]),
        st.sampled_from(["llama.cpp", "Express", "x"]),
    ),
)
async def test_no_list_of_models_raises_out_of_a_check(value, status, headers):
    client = client_for(status, headers, json.dumps(value).encode())
    for port in (1234, 1337, 8080, 11434, 5555):
        probed = await client.models.check(Endpoint.parse(f"localhost:{port}"))
        assert probed.word
        assert all(model.model_id for model in probed.models)
    await client.aclose()
