"""Body of a chat request, in a form that the server accepts."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

from msgspec import Struct

from lmchat.base.files.images import image_type
from lmchat.base.json_values import JsonObject, NotJsonError, decode, dict_or_empty
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.products import product_named
from lmchat.core.servers.request import (
    AnyObject,
    AnyText,
    ChatRequest,
    FittingValue,
    OutputFormat,
    tool_in_request,
)
from lmchat.core.servers.wire.request_format import JsonMode, RequestFormat
from lmchat.core.sessions.message import (
    ChatMessage,
    FilePart,
    Role,
    SentThoughts,
    ToolCallPart,
    answered_calls,
    parse_arguments,
    text_message,
    thoughts_to_send,
    tool_calls_text,
)
from lmchat.core.sessions.prompts import fence_for, joined_paragraphs, text_with_files

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")  # of a schema
_MAX_NAME_CHARS = 64
_NOTHING_ELSE = "and nothing else: no explanation, no code fence."
_SHORT_ID_CHARS = 9  # no more and no fewer, for templates of Mistral
_MODE_WORDS = {
    JsonMode.SCHEMA: "by a JSON schema",
    JsonMode.OBJECT: "as a JSON object",
    JsonMode.WORDS: "in words",
}


def body_of(
    request: ChatRequest,
    extra_fields: Mapping[str, Any],
    request_format: RequestFormat,
    sent_thoughts: SentThoughts,
) -> JsonObject:
    """Leave out options that are not set, and what the server has refused (`dropped`).

    `extra_fields` are all fields of the product and those of tools.
    """
    mode = request_format.json_mode(request.output)
    sent_fields = {
        name: value
        for name, value in extra_fields.items()
        if (name, str(value)) not in request_format.dropped
    }
    has_tools = "tools" in sent_fields
    if not has_tools:
        # servers refuse it without `tools`, which may just have been left out
        sent_fields.pop("tool_choice", None)
    if "logprobs" not in sent_fields:
        # as above, without `logprobs`
        sent_fields.pop("top_logprobs", None)
    product = product_named(request.target.product)
    own_fields = request_format.thought_fields
    encoder = MessageEncoder(
        files=request.files,
        has_tools=has_tools,
        sent_thoughts=sent_thoughts if own_fields is None else SentThoughts.ALL,
        thought_fields=product.chat.thought_fields if own_fields is None else own_fields,
        request_format=request_format,
    )
    messages = encoder.encode(_with_output_instruction(request.messages, request.output, mode))
    body: JsonObject = {
        "model": request.target.model_id,
        "messages": messages,
        "stream": request_format.streams,
    }
    if messages and messages[-1]["role"] == Role.ASSISTANT:
        body |= product.chat.prefill_fields
    if request_format.streams and request_format.has_stream_options:
        body["stream_options"] = {"include_usage": True}
    sampling = request.sampling
    limit = "max_completion_tokens" if request_format.has_completion_tokens else "max_tokens"
    options = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        limit: sampling.max_tokens or product.chat.answer_limit,
        "stop": [*sampling.stop] or None,
    }
    body |= {name: value for name, value in options.items() if value is not None}
    return {**body, **_response_format(request.output, mode), **sent_fields}


def tool_fields(request: ChatRequest) -> JsonObject:
    if not request.tools:
        return {}
    fields: JsonObject = {"tools": [tool_in_request(tool) for tool in request.tools]}
    if request.must_call:
        fields["tool_choice"] = "required"
    return fields


def json_words(output: OutputFormat, mode: JsonMode) -> str:
    """Return the words for a way to ask for JSON: "as a JSON object"."""
    # `json_object` has no field for a schema, so `_with_output_instruction` writes it out
    is_schema_in_words = isinstance(output, FittingValue) and mode is JsonMode.OBJECT
    return _MODE_WORDS[mode] + (", the schema in words" if is_schema_in_words else "")


def _response_format(output: OutputFormat, mode: JsonMode) -> JsonObject:
    """Return no field if text is wanted, or JSON is asked for in words."""
    if isinstance(output, AnyText) or mode is JsonMode.WORDS:
        return {}
    if mode is JsonMode.OBJECT:
        return {"response_format": {"type": "json_object"}}
    if isinstance(output, AnyObject):
        named_schema: JsonObject = {"name": "object", "schema": {"type": "object"}}
    else:
        name = _NOT_IN_NAMES.sub("_", output.name)[:_MAX_NAME_CHARS].strip("_")
        # A name in another script, such as Greek, is empty now.
        named_schema = {"name": name or "answer", "schema": output.schema}
    return {"response_format": {"type": "json_schema", "json_schema": named_schema}}


def _with_output_instruction(
    messages: tuple[ChatMessage, ...], output: OutputFormat, mode: JsonMode
) -> tuple[ChatMessage, ...]:
    """Say in the system prompt what JSON to answer with, unless the request has the schema.

    `json_object` needs it, too: OpenAI refuses that mode unless a message names JSON.
    """
    has_schema = isinstance(output, FittingValue) and mode is JsonMode.SCHEMA
    if isinstance(output, AnyText) or has_schema:
        return messages
    instruction = f"Answer with one JSON object, {_NOTHING_ELSE}"
    if isinstance(output, FittingValue):
        schema = json.dumps(output.schema, ensure_ascii=False)
        instruction = (
            f"Answer with one JSON value that matches this JSON schema, {_NOTHING_ELSE}\n\n{schema}"
        )
    if messages and messages[0].role is Role.SYSTEM:
        instruction = f"{messages[0].text}\n\n{instruction}"
        messages = messages[1:]
    return (text_message(Role.SYSTEM, instruction), *messages)


class MessageEncoder(Struct, frozen=True, kw_only=True):
    """Encoder of messages for a request.

    Many chat templates take only prompts and answers in turn, so neighbours of one role become one
    message, and empty answers are left out. A call is sent with its result, or not at all.
    Templates of models without tools refuse the role `tool`: without tools in the request, and
    without a call right before it, a result is sent as text of an answer.
    """

    files: Mapping[str, bytes]  # by digest; b"" for images that are named, not sent
    has_tools: bool
    sent_thoughts: SentThoughts
    thought_fields: Sequence[str]
    request_format: RequestFormat = RequestFormat()

    def encode(self, messages: Sequence[ChatMessage]) -> list[JsonObject]:
        """Encode messages, oldest first."""
        encoded: list[JsonObject] = []
        thoughts = thoughts_to_send(messages, self.sent_thoughts)  # one for each message, or ""
        open_ids: list[str] = []  # of calls that have no result yet
        quoted: list[str] = []  # behind those of the role `tool`
        pictures: list[JsonObject] = []  # behind all results
        form = self.request_format
        has_each_thought = form.thought_fields is not None  # an answer without one has an empty one
        for index, message in enumerate(messages):
            if message.role is Role.TOOL:
                call_id = message.tool_calls[0].call_id if message.tool_calls else ""
                if call_id in open_ids:
                    open_ids.remove(call_id)
                    encoded.append(
                        {
                            "role": "tool",
                            "tool_call_id": self._call_id(message.tool_calls[0]),
                            "content": message.sent_text,
                        }
                    )
                elif any(call.name for call in message.tool_calls):
                    quoted.append(f"Result of {tool_calls_text(message)}:\n{message.sent_text}")
                pictures += self._pictures(message)
                continue
            _add_quoted(quoted, pictures, encoded)

            content = self._with_files(message) if message.files else message.text
            role = message.role
            if role is Role.SYSTEM and not form.has_system_role:
                role = Role.USER
            encoded_message: JsonObject = {"role": role.value, "content": content}
            if thoughts[index] or (has_each_thought and role is Role.ASSISTANT):
                encoded_message |= dict.fromkeys(self.thought_fields, thoughts[index])
            calls = answered_calls(messages, index) if self.has_tools else []
            if calls:
                encoded_message["tool_calls"] = [self._call(call) for call in calls]
                if form.has_null_texts:
                    encoded_message["content"] = content or None
            open_ids = [call.call_id for call in calls]
            _add(encoded_message, encoded)
        _add_quoted(quoted, pictures, encoded)
        # at the end, the server continues a thought
        last = encoded[-1]
        if _is_empty_answer(last) and not any(map(last.get, self.thought_fields)):
            encoded.pop()
        return encoded

    def _call(self, call: ToolCallPart) -> JsonObject:
        """Encode a call with the fields that its server gave it.

        Arguments that are no object become `{}`: chat templates fail on them.
        """
        others: JsonObject = {}
        for line in call.others.splitlines():
            with suppress(NotJsonError):
                others |= dict_or_empty(decode(line.encode("utf-8", "replace")))
        arguments = call.arguments if parse_arguments(call.arguments) else "{}"
        function = dict_or_empty(others.get("function"))
        return {
            **others,
            "id": self._call_id(call),
            "type": "function",
            "function": {**function, "name": call.name, "arguments": arguments},
        }

    def _call_id(self, call: ToolCallPart) -> str:
        if not self.request_format.has_short_call_ids:
            return call.call_id
        return sha256(call.call_id.encode("utf-8", "replace")).hexdigest()[:_SHORT_ID_CHARS]

    def _pictures(self, message: ChatMessage) -> Iterator[JsonObject]:
        """Yield each with its name, which the result of the tool has."""
        for part in message.files:
            if data := self.files.get(part.digest):
                yield {"type": "text", "text": f"{part.name}:"}
                yield _image(part, data)

    def _with_files(self, message: ChatMessage) -> str | list[JsonObject]:
        """Return a text, or a list of parts if there are images.

        Text files without a `place` come first, the others are at their places in the text. An
        image that is missing or not sent is named.
        """
        texts: list[str] = []
        images: list[JsonObject] = []
        for part in message.files:
            data = self.files.get(part.digest)
            if part.is_image and data:
                images.append(_image(part, data))
            elif part.place is None:
                texts.append(_file_as_text(part, data))
        words = text_with_files(message.text, message.files, self.files)
        content = joined_paragraphs(*texts, words)
        if not images:
            return content
        return [*images, {"type": "text", "text": content}] if content else images


def _add(message: JsonObject, encoded: list[JsonObject]) -> None:
    """Add a message, or join it with the last one if both have one role.

    A prompt takes the place of an empty answer. Between results of tools and a prompt, some
    templates need an answer, which gets the words `_NO_ANSWER`.
    """
    if message["role"] == Role.USER:
        if encoded and _is_empty_answer(encoded[-1]):
            encoded.pop()
        if encoded and encoded[-1]["role"] == Role.TOOL:
            encoded.append({"role": Role.ASSISTANT.value, "content": "(no answer)"})
    last = encoded[-1] if encoded else {}
    if message["role"] == Role.SYSTEM or message["role"] != last.get("role"):
        encoded.append(message)
        return
    last["content"] = _joined_content(last["content"], message["content"])
    for name, value in message.items():
        if name not in ("role", "content"):  # its thought and its calls
            # no earlier answer has calls here: their results are between it and this one
            last[name] = joined_paragraphs(last.get(name, ""), value) if name in last else value


def _add_quoted(quoted: list[str], pictures: list[JsonObject], encoded: list[JsonObject]) -> None:
    """Add results of tools as text of an answer, and their pictures as a prompt; empty the lists.

    Few servers take pictures in the role `tool`.
    """
    if quoted:
        _add({"role": Role.ASSISTANT.value, "content": joined_paragraphs(*quoted)}, encoded)
        quoted.clear()
    if pictures:
        _add({"role": Role.USER.value, "content": [*pictures]}, encoded)
        pictures.clear()


def _is_empty_answer(encoded_message: JsonObject) -> bool:
    """Return whether servers refuse it: an answer without text, image and calls."""
    content = encoded_message["content"]
    is_blank = not content.strip() if isinstance(content, str) else not content
    is_answer = encoded_message["role"] == Role.ASSISTANT
    return is_answer and is_blank and "tool_calls" not in encoded_message


def _joined_content(earlier: str | list[JsonObject], later: str | list[JsonObject]) -> Any:
    if isinstance(earlier, str) and isinstance(later, str):
        return joined_paragraphs(earlier, later)
    parts = _parts_of(earlier)
    for part in _parts_of(later):
        if parts and parts[-1]["type"] == part["type"] == "text":
            text = joined_paragraphs(parts[-1]["text"], part["text"])
            parts[-1] = {"type": "text", "text": text}
        else:
            parts.append(part)
    return parts


def _parts_of(content: str | list[JsonObject]) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content)


def _image(part: FilePart, data: bytes) -> JsonObject:
    media_type = image_type(data) or part.media_type  # a copy may be of another type
    url = f"data:{media_type};base64,{b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _file_as_text(part: FilePart, data: bytes | None) -> str:
    """Return a text file in a code block, or a note for a missing one and for an image."""
    name = safe_line(part.name)
    if data is None:
        return f"[file {name} is missing]"
    if part.is_image:
        return f"[image {name}]"
    text = data.decode("utf-8-sig", "replace")  # without a byte order mark
    fence = fence_for(text)
    return f"File {name}:\n{fence}\n{text.rstrip()}\n{fence}"
