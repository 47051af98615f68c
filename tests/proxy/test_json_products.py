"""A JSON value out of every product, found as a program finds it, however it takes the wish."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from lmchat.proxy import AnswerUnfit, Client
from tests.support.scripted_products import CHAT, PRODUCTS, answer
from tests.support.scripted_server import DONE, Reply, Seen, delta, finish, json_reply, sse

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
VALUE = {"age": 36}
GOOD = answer(json.dumps(VALUE))
PROSE = answer("Ada is 36 years old.")


def takes(*forms: str, refusal: Reply, otherwise: Reply = GOOD) -> Callable[[Seen], Reply]:
    """Play a server that takes only these forms of JSON, and answers well in each."""

    def play(seen: Seen) -> Reply:
        form = seen.json.get("response_format", {}).get("type", "words")
        return otherwise if form in forms else refusal

    return play


def minds_words(seen: Seen) -> Reply:
    """Play a server that drops the field without a word, and a model that does as it is told."""
    told = seen.json["messages"]
    return GOOD if any("JSON" in one["content"] for one in told) else PROSE


def error(message: str, *, status: int = 400, **more: object) -> Reply:
    return json_reply({"error": {"message": message, **more}}, status=status)


WORDS_OF_LM_STUDIO = json_reply(
    {"error": "'response_format.type' must be 'json_schema' or 'text'"}, status=400
)
OF_OLD_LLAMA = error(
    'response_format type must be one of "text" or "json_object", but got: json_schema', code=400
)
OF_LLAMA_WITH_TEMPLATES = error('Either "json_schema" or "grammar" can be specified, but not both', code=400)
OF_OLLAMA = json_reply({"error": {"message": "invalid JSON schema in format", "code": None}}, status=500)
OF_VLLM = json_reply(
    {"object": "error", "message": "Grammar error: unsupported keyword", "code": 400}, status=400
)
OF_FASTAPI = json_reply(
    {"detail": [{"loc": ["body", "response_format", "type"], "msg": "Input should be 'text'"}]}, status=422
)
OF_LITELLM = error("litellm.UnsupportedParamsError: it does not support parameters: ['response_format']")


@pytest.mark.rule("R-12", "R-13")
@pytest.mark.parametrize(
    ("product", "play", "forms"),
    [
        ("lm-studio", takes("json_schema", "words", refusal=WORDS_OF_LM_STUDIO), ["json_schema"]),
        ("llama.cpp", takes("json_schema", refusal=OF_OLD_LLAMA), ["json_schema"]),
        ("llama.cpp", takes("json_object", refusal=OF_OLD_LLAMA), ["json_schema", "json_object"]),
        (
            "llama.cpp",
            takes("words", refusal=OF_LLAMA_WITH_TEMPLATES),
            ["json_schema", "json_object", "words"],
        ),
        ("router", takes("json_object", refusal=OF_OLD_LLAMA), ["json_schema", "json_object"]),
        ("jan", takes("json_object", refusal=OF_OLD_LLAMA), ["json_schema", "json_object"]),
        ("ollama", takes("json_object", refusal=OF_OLLAMA), ["json_schema", "json_object"]),
        ("ollama", minds_words, ["json_schema", "json_schema"]),
        ("vllm", takes("json_object", refusal=OF_VLLM), ["json_schema", "json_object"]),
        ("plain", takes("json_object", "words", refusal=OF_FASTAPI), ["json_schema", "json_object"]),
        ("plain", takes("words", refusal=OF_FASTAPI), ["json_schema", "json_object", "words"]),
        ("plain", takes("words", refusal=OF_LITELLM), ["json_schema", "json_object", "words"]),
        ("plain", takes("json_schema", refusal=WORDS_OF_LM_STUDIO), ["json_schema"]),
        ("plain", minds_words, ["json_schema", "json_schema"]),
    ],
)
async def test_a_value_comes_out_of_each_product(product, play, forms, server):
    PRODUCTS[product](server).on(CHAT, play)
    async with Client(server.url) as client:
        found = await client.chat_json("How old is Ada?", SCHEMA)
        assert found.value == VALUE
        assert forms_of(server.seen(CHAT)) == forms


@pytest.mark.parametrize(
    ("product", "play", "forms"),
    [
        ("lm-studio", takes("json_schema", "words", refusal=WORDS_OF_LM_STUDIO), ["json_schema"]),
        ("plain", takes("json_schema", refusal=WORDS_OF_LM_STUDIO), ["json_object", "json_schema"]),
        ("llama.cpp", takes("json_object", refusal=OF_OLD_LLAMA), ["json_object"]),
        ("ollama", minds_words, ["json_object"]),
        ("plain", takes("words", refusal=OF_LITELLM), ["json_object", "json_schema", "words"]),
    ],
)
async def test_any_object_comes_out_of_each_product(product, play, forms, server):
    PRODUCTS[product](server).on(CHAT, play)
    async with Client(server.url) as client:
        assert (await client.chat_json("How old is Ada?")).value == VALUE
        assert forms_of(server.seen(CHAT)) == forms


async def test_lm_studio_that_answers_in_its_thought_is_understood(server):
    PRODUCTS["lm-studio"](server).on(
        CHAT, sse(delta("", reasoning_content=json.dumps(VALUE)), finish(), DONE)
    )
    async with Client(server.url) as client:
        assert (await client.chat_json("How old is Ada?", SCHEMA)).value == VALUE
    assert len(server.seen(CHAT)) == 1


@pytest.mark.parametrize("product", list(PRODUCTS))
async def test_a_model_that_never_writes_json_is_told_as_that(product, server):
    PRODUCTS[product](server).on(CHAT, PROSE)
    async with Client(server.url) as client:
        with pytest.raises(AnswerUnfit, match="also at the second try: it holds no JSON value"):
            await client.chat_json("How old is Ada?", SCHEMA)
    assert len(server.seen(CHAT)) == 2


def forms_of(seen: Sequence[Seen]) -> list[str]:
    return [one.json.get("response_format", {}).get("type", "words") for one in seen]
