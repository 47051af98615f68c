"""Thoughts that go back to the model, in the bodies that servers receive."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.core.sessions.message import (
    ChatMessage,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from tests.support.client_calls import (
    READ_TOOL,
    answered,
    ask,
    endpoint_of,
    failure_of,
    message_of,
)
from tests.support.scripted_products import CHAT, LLAMA, PRODUCT_NAMES, chat_reply, llama_cpp
from tests.support.scripted_server import json_reply

_CALL = ToolCallPart(call_id="c0", name="files__read", arguments="{}")
_FIELDS = {"reasoning_content", "reasoning", "thinking"}


def _loop() -> tuple[ChatMessage, ...]:
    """An exchange, and a prompt whose answer called a tool after a thought."""
    ran = replace(_CALL, name="files/read")
    return (
        text_message(Role.USER, "Hello"),
        message_of(Role.ASSISTANT, ReasoningPart(text="Be kind."), TextPart(text="Hello!")),
        text_message(Role.USER, "Read it"),
        message_of(Role.ASSISTANT, ReasoningPart(text="The file will tell."), _CALL),
        message_of(Role.TOOL, ran, ToolResultPart(text="found")),
    )


def _request(server, *, product="llama.cpp", messages=None, tools=(READ_TOOL,)):
    request = ask(server, product=product, model="tiny.gguf")
    return replace(request, messages=messages or _loop(), tools=tools)


async def _sent(server, client, **more) -> list[dict]:
    await answered(client, _request(server, **more))
    return server.seen(CHAT)[-1].json["messages"]


@pytest.mark.rule("R-45")
async def test_older_thoughts_go_back_where_the_template_keeps_them(server, make_client):
    for keeps in (True, False):
        client = make_client()
        caps = {"supports_preserve_reasoning": keeps}
        llama_cpp(server).on("GET /props", json_reply({"chat_template_caps": caps}, headers=LLAMA))
        await client.models.check(endpoint_of(server))
        sent = await _sent(server, client)
        thoughts = [message.get("reasoning_content") for message in sent]
        assert thoughts == [None, "Be kind." if keeps else None, None, "The file will tell.", None]


async def test_each_product_gets_thoughts_in_its_own_fields_and_unknown_ones_get_none(
    server, client
):
    usual = (
        *("built-in", "llama.cpp", "Jan", "LM Studio", "SGLang", "llama-swap", "Lemonade"),
        *("Docker Model Runner", "vllm-mlx", "text-generation-webui"),
    )
    fields = {
        **dict.fromkeys(usual, ("reasoning_content",)),
        "vLLM": ("reasoning", "reasoning_content"),
        **dict.fromkeys(("Ollama", "mlx_lm.server", "LocalAI"), ("reasoning",)),
    }
    server.on(CHAT, chat_reply("Read."))
    for product in PRODUCT_NAMES:
        *_, call, _ = await _sent(server, client, product=product)
        thoughts = {name: call[name] for name in _FIELDS & set(call)}
        assert thoughts == dict.fromkeys(fields.get(product, ()), "The file will tell.")


async def test_without_tools_in_the_request_the_thoughts_go_with_the_joined_answer(server, client):
    more = message_of(Role.ASSISTANT, ReasoningPart(text="So it is found."), TextPart(text="Found"))
    sent = await _sent(llama_cpp(server), client, messages=(*_loop(), more), tools=())
    assert sent[-1] == {
        "role": "assistant",
        "content": "Result of files/read():\nfound\n\nFound",
        "reasoning_content": "The file will tell.\n\nSo it is found.",
    }


@pytest.mark.rule("R-13")
async def test_thoughts_that_a_server_misses_are_given_back(server, make_client):
    for words, name in (
        ("messages.1: the field `reasoning` of an earlier answer has to be sent", "reasoning"),
        ("The reasoning_content must be passed back to the API.", "reasoning_content"),
    ):
        server.on(CHAT, json_reply({"detail": words}, status=400), chat_reply())
        sent = await _sent(server, make_client(), product="OpenAI-compatible")
        thoughts = [message.get(name) for message in sent]
        assert thoughts == [None, "Be kind.", None, "The file will tell.", None]


async def test_a_thought_to_go_on_with_is_no_empty_answer_where_no_field_is_known(server, client):
    server.on(CHAT, chat_reply())
    begun = message_of(Role.ASSISTANT, ReasoningPart(text="The file will"))
    for product, sent in (("llama.cpp", ["user", "assistant"]), ("OpenAI-compatible", ["user"])):
        talk = (text_message(Role.USER, "Read it"), begun)
        messages = await _sent(server, client, product=product, messages=talk, tools=())
        assert [one["role"] for one in messages] == sent


@pytest.mark.rule("R-13")
async def test_a_form_that_is_refused_like_the_other_one_is_an_error(server, client, make_client):
    words = "messages.1: the field reasoning is wrong"
    server.on(CHAT, json_reply({"detail": words}, status=422))
    error = await failure_of(client, _request(server, messages=_loop()[:3], tools=()))
    assert len(server.seen(CHAT)) == 2
    assert error.message.endswith(words)
    words = "Cannot pass both content and thinking in an assistant message."  # none was sent
    server.on(CHAT, json_reply({"detail": words}, status=400))
    request = _request(server, messages=_loop()[:3], tools=(), product="OpenAI-compatible")
    error = await failure_of(make_client(), request)
    assert len(server.seen(CHAT)) == 3
    assert error.message.endswith(words)
