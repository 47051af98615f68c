"""Whatever a model writes around its tags: each letter of it is in the answer or in the thought, once."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.config.settings import LimitSettings, Settings
from lmchat.domain.server import Endpoint
from lmchat.domain.turn import GrowingAnswer
from lmchat.proxy.client import ProxyClient
from tests.support.proxy_calls import ask, events_of

HERE = Endpoint.parse("localhost:1234")
MANY = Settings(limits=LimitSettings(requests_per_minute=1_000_000))
LETTERS = frozenset("ABXPQ`")
TEXT = st.sampled_from(
    [
        "<think>",
        "</think>",
        "A",
        "B ",
        "\n",
        "\n\n",
        "```",
        "`",
        "<thi",
        "nk>",
        "</thi",
        "X</think>",
        "</think>\n\n",
    ]
)
THOUGHT = st.sampled_from(["P", "Q ", "P\n"])
WITH_FIELDS = st.lists(
    TEXT.map(lambda text: ("content", text)) | THOUGHT.map(lambda text: ("reasoning_content", text)),
    max_size=9,
)
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
models = count()


def letters(*texts: str) -> Counter[str]:
    return Counter(sign for text in texts for sign in text if sign in LETTERS)


async def kept(pieces) -> tuple[str, str]:
    """Return the answer and the thought that are kept of a stream; its model has never been heard of."""
    chunks = [{"choices": [{"index": 0, "delta": {name: text}}]} for name, text in pieces]
    body = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks) + END

    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    client = ProxyClient(MANY, key_for=lambda _: None, transport=httpx.MockTransport(reply))
    events, _ = await events_of(client, ask(HERE, model=f"model-{next(models)}"))
    await client.aclose()
    growing = GrowingAnswer()
    for event in events:
        growing.add(event)
    return growing.text("text"), growing.text("reasoning")


@pytest.mark.rule("R-17")
@settings(deadline=None, max_examples=100)
@given(WITH_FIELDS)
async def test_no_letter_is_lost_or_told_twice_between_tags_and_fields(pieces):
    assert letters(*await kept(pieces)) == letters(*(text for _, text in pieces))
