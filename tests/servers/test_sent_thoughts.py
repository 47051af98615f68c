"""Thoughts that go back to the model, in the bodies that servers receive."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.sessions.message import (
    ChatMessage,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from tests.support.client_calls import READ_TOOL, answered, ask, endpoint_of, message_of
from tests.support.scripted_products import CHAT, LLAMA, PRODUCT_NAMES, chat_reply, llama_cpp
from tests.support.scripted_server import json_reply

_CALL = ToolCallPart(call_id="c0", name="files__read", arguments="{}")
_BOTH = "Cannot pass both content and thinking in an assistant message with tool calls!"
_FIELDS = {"reasoning_content", "reasoning", "thinking"}
_SENT_CALL = {
    "id": "c0",
    "type": "function",
    "function": {"name": "files__read", "arguments": "{}"},
}


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
async def test_in_a_tool_loop_the_thought_goes_back_with_its_call_and_older_ones_do_not(
    server, client
):
    assert await _sent(llama_cpp(server), client) == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Read it"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "The file will tell.",
            "tool_calls": [_SENT_CALL],
        },
        {"role": "tool", "tool_call_id": "c0", "content": "found"},
    ]


@pytest.mark.rule("R-13")
async def test_thoughts_that_a_server_refuses_are_left_out_and_the_tools_are_kept(
    server, make_client
):
    """gpt-oss at LM Studio takes no text beside a thought and a call, as its template says."""
    extra = {
        "loc": ["body", "messages", 3, "assistant", "reasoning_content"],
        "msg": "Extra inputs",
    }
    for status, refusal in (
        (400, {"error": f'Error rendering prompt with jinja template: "{_BOTH}".'}),
        (422, {"detail": [extra]}),
        (400, {"error": {"message": "'messages.3' : property 'reasoning_content' is unsupported"}}),
    ):
        server.requests.clear()

        def play(seen, status=status, refusal=refusal):
            has_thought = any("reasoning_content" in one for one in seen.json["messages"])
            return json_reply(refusal, status=status) if has_thought else chat_reply()

        server.on(CHAT, play)
        client = make_client()
        for asked in (2, 3):
            await answered(client, _request(server, product="LM Studio"))
            assert len(server.seen(CHAT)) == asked, "it is remembered"
        assert "tools" in server.seen(CHAT)[-1].json


async def test_older_thoughts_go_back_where_the_template_keeps_them(server, make_client):
    for keeps in (True, False):
        client = make_client()
        caps = {"supports_preserve_reasoning": keeps}
        llama_cpp(server).on("GET /props", json_reply({"chat_template_caps": caps}, headers=LLAMA))
        await client.check(endpoint_of(server))
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
