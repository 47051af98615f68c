"""Body of a chat request: common fields, those of the product, without what it refused."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from msgspec import Struct

from lmchat.domain.attached_files import fence_for
from lmchat.domain.message import (
    ChatMessage,
    FilePart,
    Role,
    SentThoughts,
    ToolCallPart,
    text_message,
    thoughts_to_send,
)
from lmchat.domain.request import AnyObject, AnyText, ChatRequest, FittingValue, WantedOutput
from lmchat.domain.tool import parse_arguments, tool_calls_text, tool_in_request
from lmchat.errors import ServerRejected
from lmchat.proxy.dialect import Dialect, JsonMode
from lmchat.proxy.json_values import utf8_safe, without_surrogates
from lmchat.text import safe_line

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")
_MAX_NAME_CHARS = 64
_ALONE = "and nothing else: no explanation, no code fence."
_WAYS = {
    JsonMode.SCHEMA: "by a JSON schema",
    JsonMode.OBJECT: "as a JSON object",
    JsonMode.WORDS: "in words",
}


def body_of(
    request: ChatRequest,
    fields: Mapping[str, Any],
    dialect: Dialect,
    sent_thoughts: SentThoughts = SentThoughts.NONE,
) -> dict[str, Any]:
    """Return the body; what the user has not set is not sent."""
    mode = dialect.json_mode(request.output)
    sent_fields = {
        name: value for name, value in fields.items() if (name, str(value)) not in dialect.dropped
    }
    has_tools = "tools" in sent_fields
    if not has_tools:
        sent_fields.pop("tool_choice", None)
    encoder = MessageEncoder(
        files=request.files,
        has_tools=has_tools,
        sent_thoughts=sent_thoughts if dialect.has_thoughts else SentThoughts.NONE,
        thought_fields=request.product.facts.thought_fields,
    )
    messages = _with_form_in_words(request.messages, request.output, mode)
    body = {
        "model": without_surrogates(request.model),
        "messages": encoder.encode(messages),
        "stream": True,
    }
    if dialect.has_stream_options:
        body["stream_options"] = {"include_usage": True}
    return {
        **body,
        **_sampling_fields(request, dialect),
        **_response_format(request.output, mode),
        **sent_fields,
    }


def tool_fields(request: ChatRequest) -> dict[str, Any]:
    """Return the fields that offer tools."""
    if not request.tools:
        return {}
    fields: dict[str, Any] = {"tools": [utf8_safe(tool_in_request(tool)) for tool in request.tools]}
    if request.must_call:
        fields["tool_choice"] = "required"
    return fields


def json_mode_note(error: ServerRejected, output: WantedOutput, mode: JsonMode) -> str:
    """Return why JSON is asked for in another way, and how."""
    is_schema_in_words = isinstance(output, FittingValue) and mode is JsonMode.OBJECT
    schema = ", the schema in words" if is_schema_in_words else ""
    return f"{error.message.rstrip('.')}. lmchat now asks for JSON {_WAYS[mode]}{schema}."


def _sampling_fields(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    sampling = request.sampling
    fields = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        dialect.limit: sampling.max_tokens,
        "stop": [without_surrogates(stop) for stop in sampling.stop] or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _response_format(output: WantedOutput, mode: JsonMode) -> dict[str, Any]:
    """Return the field that asks for JSON; none for words."""
    if isinstance(output, AnyText) or mode is JsonMode.WORDS:
        return {}
    if mode is JsonMode.OBJECT:
        return {"response_format": {"type": "json_object"}}
    if isinstance(output, AnyObject):
        named_schema: dict[str, Any] = {"name": "object", "schema": {"type": "object"}}
    else:
        name = _NOT_IN_NAMES.sub("_", output.name)[:_MAX_NAME_CHARS].strip("_")
        named_schema = {"name": name or "answer", "schema": utf8_safe(output.schema)}
    return {"response_format": {"type": "json_schema", "json_schema": named_schema}}


def _with_form_in_words(
    messages: tuple[ChatMessage, ...], output: WantedOutput, mode: JsonMode
) -> tuple[ChatMessage, ...]:
    """Return the messages with the form that is wanted, in the system prompt.

    OpenAI refuses any JSON object unless a message mentions JSON.
    """
    words = _form_in_words(output, mode)
    if not words:
        return messages
    if messages and messages[0].role is Role.SYSTEM:
        words = f"{messages[0].text}\n\n{words}"
        messages = messages[1:]
    return (text_message(Role.SYSTEM, words), *messages)


def _form_in_words(output: WantedOutput, mode: JsonMode) -> str:
    if isinstance(output, AnyObject):
        return f"Answer with one JSON object, {_ALONE}"
    if isinstance(output, AnyText) or mode is JsonMode.SCHEMA:
        return ""
    schema = without_surrogates(json.dumps(output.schema, ensure_ascii=False))
    return f"Answer with one JSON value that matches this JSON schema, {_ALONE}\n\n{schema}"


class MessageEncoder(Struct, frozen=True, kw_only=True):
    """Encoder of messages for a request.

    A tool call is sent with its result, or not at all. Without tools in the request, results become
    text of the next answer: chat templates of models without tools refuse them.
    """

    files: Mapping[str, bytes]
    has_tools: bool
    sent_thoughts: SentThoughts
    thought_fields: Sequence[str]

    def encode(self, messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
        encoded: list[dict[str, Any]] = []
        thoughts = thoughts_to_send(messages, self.sent_thoughts)
        for index, message in enumerate(messages):
            if message.role is Role.TOOL and self.has_tools:
                encoded.append(_tool_result(message))
                continue
            self._add(message, encoded)
            if thoughts[index]:
                thought = without_surrogates(thoughts[index])
                for name in self.thought_fields:
                    encoded[-1][name] = _joined(encoded[-1].get(name, ""), thought)
            if self.has_tools and message.tool_calls:
                calls = _answered_calls(message, messages[index + 1 :])
                if calls:
                    encoded[-1]["tool_calls"] = [_encoded_call(call) for call in calls]
        return encoded

    def _add(self, message: ChatMessage, encoded: list[dict[str, Any]]) -> None:
        """Add a message; without tools, answers that follow each other become one."""
        role = message.role
        content: Any = without_surrogates(message.text)
        if role is Role.TOOL:
            role = Role.ASSISTANT
            result = without_surrogates(message.sent_text)
            content = f"Result of {without_surrogates(tool_calls_text(message))}:\n{result}"

        is_answer = role is Role.ASSISTANT and not self.has_tools
        if is_answer and encoded and encoded[-1]["role"] == "assistant":
            encoded[-1]["content"] = _joined(encoded[-1]["content"], content)
        else:
            if message.files:
                content = self._with_files(message)
            encoded.append({"role": role.value, "content": content})

    def _with_files(self, message: ChatMessage) -> str | list[dict[str, Any]]:
        """Return the content of a prompt with its files: parts if it has images, else a text."""
        texts: list[str] = []
        images: list[dict[str, Any]] = []
        for part in message.files:
            data = self.files.get(part.digest)
            if part.is_image and data:
                images.append(_image(part, data))
            else:
                texts.append(_file_as_text(part, data))
        content = _joined(*texts, without_surrogates(message.text))
        if not images:
            return content
        return [*images, {"type": "text", "text": content}] if content else images


def _answered_calls(message: ChatMessage, after: Sequence[ChatMessage]) -> list[ToolCallPart]:
    """Return the calls of an answer that have a result."""
    answered: set[str] = set()
    for result in takewhile(lambda other: other.role is Role.TOOL, after):
        answered.update(call.call_id for call in result.tool_calls)
    return [call for call in message.tool_calls if call.call_id in answered]


def _tool_result(message: ChatMessage) -> dict[str, Any]:
    return {
        "role": "tool",
        "tool_call_id": message.tool_calls[0].call_id,
        "content": without_surrogates(message.sent_text),
    }


def _encoded_call(call: ToolCallPart) -> dict[str, Any]:
    """Return a call as it is sent back; templates fail on arguments that are no JSON object."""
    arguments = without_surrogates(call.arguments) if parse_arguments(call.arguments) else "{}"
    return {
        "id": without_surrogates(call.call_id),
        "type": "function",
        "function": {"name": without_surrogates(call.name), "arguments": arguments},
    }


def _image(part: FilePart, data: bytes) -> dict[str, Any]:
    url = f"data:{part.media_type};base64,{b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _file_as_text(part: FilePart, data: bytes | None) -> str:
    name = safe_line(part.name)
    if data is None:
        return f"[file {name} is missing]"
    if part.is_image:  # its content is left out
        return f"[image {name}]"
    text = data.decode("utf-8-sig", "replace")
    fence = fence_for(text)
    return f"File {name}:\n{fence}\n{text.rstrip()}\n{fence}"


def _joined(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))
