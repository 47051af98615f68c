from __future__ import annotations

import json

import pytest

from lmchat.api import AnswerUnfit, Client, RequestInvalid
from tests.support.scripted_products import CHAT, chat_reply, plain
from tests.support.scripted_server import DONE, delta, finish, sse

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
ADA = {"name": "Ada", "age": 36}
ADA_TEXT = json.dumps(ADA)


@pytest.fixture
async def client(server):
    plain(server, "tiny")
    async with Client(server.url) as one:
        yield one


def sent_messages(server, number=-1):
    return server.seen(CHAT)[number].json["messages"]


async def test_the_value_is_returned_with_the_answer_that_held_it(server, client):
    server.on(CHAT, chat_reply(f"<think>hm</think>Of course:\n```json\n{ADA_TEXT}\n```"))
    found = await client.chat_json("Who?", PERSON, name="person", temperature=0)
    assert (found.value, found.first_misfit) == (ADA, "")
    assert found.answer.model == "tiny"
    (seen,) = server.seen(CHAT)
    assert seen.json["temperature"] == 0
    assert seen.json["response_format"]["json_schema"] == {"name": "person", "schema": PERSON}


async def test_a_schema_with_unknown_names_is_a_warning_and_one_that_checks_nothing_an_error(
    server, client
):
    server.on(CHAT, chat_reply(ADA_TEXT))
    with pytest.warns(UserWarning, match="check nothing: requird"):
        assert (await client.chat_json("Who?", {**PERSON, "requird": []})).value == ADA
    with pytest.raises(RequestInvalid, match="no keyword that checks"):
        await client.chat_json("Who?", {"name": "Emma"})


async def test_an_answer_that_fits_nowhere_is_an_error_that_says_why(server, client):
    thought = delta(reasoning_content=ADA_TEXT)
    cut = "The answer was cut short, so it does not match: what looks like JSON in it"
    second = 'The answer does not match the schema: at $.age: null is not of type "integer".'
    misfit = chat_reply('{"name": "Ada", "age": null}')
    for replies, words, requests in (
        ((chat_reply("Ada."), misfit, chat_reply(ADA_TEXT)), second, 2),
        ((sse(thought, "Ada.", finish(), DONE),), "it has no JSON value", 2),
        ((sse('{"name": "A', finish("length"), DONE),), cut, 1),
        ((sse('{"name": "A', finish("MAX_TOKENS"), DONE),), cut, 1),
        ((sse(delta(refusal="I cannot."), finish(), DONE),), "The model refused", 1),
    ):
        server.requests.clear()
        server.on(CHAT, *replies)
        with pytest.raises(AnswerUnfit) as caught:
            await client.chat_json("Who?", PERSON)
        assert words in str(caught.value)
        assert (caught.value.kind, caught.value.exit_code) == ("schema", 1)
        assert len(server.seen(CHAT)) == requests


async def test_without_a_schema_any_object_fits_and_nothing_else(server, client):
    server.on(CHAT, chat_reply("[1]"), chat_reply('{"a": [1]}'))
    found = await client.chat_json("Anything.")
    assert (found.value, found.first_misfit) == (
        {"a": [1]},
        "The answer does not match the request: it is not a JSON object.",
    )
    assert [one.json["response_format"] for one in server.seen(CHAT)] == [
        {"type": "json_object"}
    ] * 2
    assert "one JSON object" in sent_messages(server)[-1]["content"]


async def test_a_schema_that_is_none_is_refused_before_anything_is_sent(server, client):
    with pytest.raises(RequestInvalid, match='"person" is not valid'):
        await client.chat_json("Who?", {"type": "person"})
    assert server.seen() == []
