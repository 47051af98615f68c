"""Thought that is told late, refusals and the first token, through the whole layer (R-17, R-18)."""

from __future__ import annotations

import pytest

from lmchat.core.config.settings import ChatSettings
from lmchat.core.servers.events import (
    LifeSign,
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    TextDelta,
    ToolCallDelta,
)
from tests.support.client_calls import answered, ask, body_of, endpoint_of, replay
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    body_reply,
    delta,
    finish,
    json_reply,
    sse,
    usage,
)

ROLE = delta("", role="assistant")
PARTS = (TextDelta, ReasoningDelta, RefusalDelta, Rethought, ToolCallDelta)


async def told(client, request):
    """Return the events of which an answer is made."""
    return [event for event in await answered(client, request) if isinstance(event, PARTS)]


async def test_where_tags_are_switched_off_all_is_text(server, make_client):
    client = make_client(chat=ChatSettings(think_tags=False))
    text = "<think>a</think>b"
    server.on(CHAT, sse(text, delta(reasoning_content="hm"), finish(), DONE))
    assert await told(client, ask(server)) == [TextDelta(text=text), ReasoningDelta(text="hm")]


@pytest.mark.rule("R-17")
async def test_a_closing_tag_alone_is_a_word_where_the_template_opens_no_thought(
    server, make_client
):
    """The template of the recording opens none; a model may be tuned to open one all the same."""
    alone = (delta("A thought ends with\n"), delta("</think>\n"), delta("and then it answers."))
    opened = (delta("<think>Hm.</think>"), delta("42."))  # from issues: llama.cpp 25292, 19647
    opening = body_of("props").replace(b"assistant\\n", b"assistant\\n<think>\\n")
    assert opening != body_of("props")
    for props, is_word in (
        (replay("props"), True),
        (body_reply(opening), False),
        (json_reply({"total_slots": 1}), False),
    ):
        server.forget()
        server.on("GET /v1/models", replay("models")).on("GET /props", props)
        client = make_client()
        (model,) = (await client.models.check(endpoint_of(server))).models
        for pieces, has_answer in ((alone, is_word), (opened, False)):
            server.on(CHAT, sse(*pieces, finish(), DONE))
            request = ask(server, product="llama.cpp", model=model.model_id)
            kinds = {type(event) for event in await told(client, request)}
            assert (kinds == {TextDelta}) is has_answer


def is_token(event) -> bool:
    return isinstance(event, PARTS) or event == LifeSign(is_token=True)


@pytest.mark.rule("R-18")
async def test_the_first_content_is_the_first_token_also_where_it_is_held_back(server, client):
    none = [
        *(ROLE, ROLE | {"prompt_progress": {"total": 9, "cache": 0, "processed": 4}}),
        *(delta(None), delta(""), delta([]), delta(reasoning_content=""), delta(tool_calls=[])),
        *(usage(9, 0), b": ping\n\n", b"data:\n\n"),
    ]
    server.on(CHAT, sse(*none, finish(), DONE))
    assert not any(map(is_token, await answered(client, ask(server))))
    call = {"index": 0, "id": "1", "function": {"name": "look", "arguments": ""}}
    for first in (
        *(delta(text) for text in ("\n", "<thi", "Hello", ["\n"])),
        *(delta(reasoning_content="\n"), delta(refusal="No"), delta(tool_calls=[call])),
    ):
        server.on(CHAT, sse(*none, first, b": ping\n\n", delta("Hello"), finish(), DONE))
        events = await answered(client, ask(server))
        position = next(number for number, event in enumerate(events) if is_token(event))
        is_joined = getattr(events[position], "chunks", 1) > 1  # with the second one
        assert is_joined or any(map(is_token, events[position + 1 :])), "it was not the second one"
