"""Body of a chat request: common fields, those of the product, without what it refused."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import takewhile
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import (
    ChatMessage,
    Role,
    SentThoughts,
    ToolCallPart,
    fence_for,
    text_message,
    thoughts_to_send,
)
from lmchat.domain.request import AnyObject, AnyText, ChatRequest, FittingValue, Output
from lmchat.domain.tool import arguments_of, called, wire_form
from lmchat.errors import ServerRejected
from lmchat.proxy.json_values import utf8_safe, without_surrogates
from lmchat.text import safe_line


class JsonMode(StrEnum):
    """A way to ask for JSON, in the word of servers."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    WORDS = "words"


LADDER = (JsonMode.SCHEMA, JsonMode.OBJECT, JsonMode.WORDS)
"""Modes that most servers take, the strictest first."""
_KINDS = ("bad_request", "server_error", "unsupported", "model_not_loaded")
_ABOUT = re.compile(
    r"response[_ ]?format|json_?schema|json_?object|json schema|json mode|structured output|guided|grammar"
    r"|invalid schema|json_validate|(invalid|required for) format",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|must be|not (permitted|allowed)"
    r"|(not |un)available|forbidden|should be|only.* supported",
    re.IGNORECASE,
)
_THIS_SCHEMA = re.compile(
    r"schema error|invalid (json )?schema|grammar|\$ref|parser|json_validate", re.IGNORECASE
)
"""A refusal of what this one schema holds: another one may be taken."""
_ANY_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_NAME_CHARS = 64
_ALONE = "and nothing else: no explanation, no code fence."


def response_format(output: Output, mode: JsonMode) -> dict[str, Any]:
    """Return the field that asks for it; none for words."""
    if isinstance(output, AnyText) or mode is JsonMode.WORDS:
        return {}
    if mode is JsonMode.OBJECT:
        return {"response_format": {"type": "json_object"}}
    if isinstance(output, AnyObject):
        name, schema = "object", {"type": "object"}
    else:
        name = _ANY_NAME.sub("_", output.name)[:_NAME_CHARS].strip("_") or "answer"
        schema = utf8_safe(output.schema)
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
    }


def with_words(
    messages: tuple[ChatMessage, ...], output: Output, mode: JsonMode
) -> tuple[ChatMessage, ...]:
    """Return the messages with the form that is wanted, in the system prompt.

    OpenAI refuses any JSON object unless a message speaks of JSON.
    """
    words = _words(output, mode)
    if not words:
        return messages
    if messages and messages[0].role is Role.SYSTEM:
        return (text_message(Role.SYSTEM, f"{messages[0].text}\n\n{words}"), *messages[1:])
    return (text_message(Role.SYSTEM, words), *messages)


def fall_note(error: ServerRejected, output: Output, mode: JsonMode) -> str:
    """Return why JSON is asked for in another way, and how."""
    ways = {
        JsonMode.SCHEMA: "by a JSON schema",
        JsonMode.OBJECT: "as a JSON object",
        JsonMode.WORDS: "in words",
    }
    schema = (
        ", the schema in words"
        if isinstance(output, FittingValue) and mode is JsonMode.OBJECT
        else ""
    )
    return f"{error.message.rstrip('.')}. lmchat now asks for JSON {ways[mode]}{schema}."


def _words(output: Output, mode: JsonMode) -> str:
    if isinstance(output, AnyObject):
        return f"Answer with one JSON object, {_ALONE}"
    if isinstance(output, AnyText) or mode is JsonMode.SCHEMA:
        return ""
    said = without_surrogates(json.dumps(output.schema, ensure_ascii=False))
    return f"Answer with one JSON value that matches this JSON schema, {_ALONE}\n\n{said}"


_WORDS_FOR = {
    "reasoning_effort": "reasoning|thinking",
    "reasoning": "thinking",
    "tools": "tool choice|tool_choice|tool-call-parser|function calling",
}
"""Words of refusals for fields that they do not name."""
_REFUSES_FIELDS = (400, 422)
_UNWANTED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|not (permitted|allowed)|forbidden"
    r"|additional prop|deprecated|instead|use \W?max_",
    re.IGNORECASE,
)
"""A refusal of a field itself; others are about its value."""


class Dialect(Struct, frozen=True, kw_only=True):
    """Ways of one server that are learnt from its refusals (R-13)."""

    has_completion_tokens: bool = False  # whether the limit is called `max_completion_tokens`
    has_stream_options: bool = True
    dropped: frozenset[tuple[str, str]] = (
        frozenset()
    )  # fields of the product with the values that it refused
    json_modes: tuple[JsonMode, ...] = LADDER
    unfit_modes: frozenset[JsonMode] = frozenset()
    """Modes that this server does not take for the schema of one request."""
    starts_in_thought: bool = (
        False  # whether the template opens a thought that the answer begins in
    )
    has_thoughts: bool = True  # whether thoughts may be sent back; no longer after a refusal

    def after(
        self,
        error: ServerRejected,
        *,
        has_limit: bool = True,
        fields: Mapping[str, Any] | None = None,
        thought_fields: Sequence[str] = (),
    ) -> Dialect | None:
        """Return the way to try after a refusal; None where no field can be changed.

        `thought_fields` are the fields of messages that may have held thoughts.
        """
        if error.status not in _REFUSES_FIELDS or error.kind != "bad_request":
            return None
        words = f"{error.message} {error.details} {error.param}"
        if self.has_stream_options and ("stream_options" in words or "include_usage" in words):
            return replace(self, has_stream_options=False)
        if has_limit and _UNWANTED.search(words) and re.search(rf"\b{self.limit}\b", words):
            return replace(self, has_completion_tokens=not self.has_completion_tokens)
        named = {
            (name, str(value)) for name, value in (fields or {}).items() if _names(name, words)
        }
        if named - self.dropped:
            return replace(self, dropped=self.dropped | named)
        if self.has_thoughts and any(_names(name, words) for name in thought_fields):
            return replace(self, has_thoughts=False)
        return None

    def after_json(self, error: ServerRejected, output: Output) -> Dialect | None:
        """Return the way to try after a refusal of how JSON was asked for, if it is one."""
        mode, words = self.json_mode(output), f"{error.message} {error.details} {error.param}"
        if mode is JsonMode.WORDS or error.kind not in _KINDS or not _ABOUT.search(words):
            return None
        if _UNKNOWN.search(words) and not _THIS_SCHEMA.search(words):  # it holds for every schema
            return replace(
                self, json_modes=tuple(one for one in self.json_modes if one is not mode)
            )
        return replace(self, unfit_modes=self.unfit_modes | {mode})

    def json_mode(self, output: Output) -> JsonMode:
        """Return the first way left that can say what is wanted; words always can."""
        order: tuple[JsonMode, ...] = ()
        if isinstance(output, AnyObject):
            order = (JsonMode.OBJECT, JsonMode.SCHEMA)
        elif isinstance(output, FittingValue):
            is_object = output.schema.get("type") == "object" or "properties" in output.schema
            order = (JsonMode.SCHEMA, JsonMode.OBJECT) if is_object else (JsonMode.SCHEMA,)
        left = set(self.json_modes) - self.unfit_modes
        return next((mode for mode in order if mode in left), JsonMode.WORDS)

    @property
    def limit(self) -> str:
        return "max_completion_tokens" if self.has_completion_tokens else "max_tokens"


def body_of(
    request: ChatRequest,
    fields: Mapping[str, Any],
    dialect: Dialect,
    sent_thoughts: SentThoughts = SentThoughts.NONE,
) -> dict[str, Any]:
    """Return the body. What the user has not set is not sent."""
    sampling, output = request.sampling, request.output
    mode = dialect.json_mode(output)
    messages = with_words(request.messages, output, mode)
    told = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        dialect.limit: sampling.max_tokens,
        "stop": [without_surrogates(stop) for stop in sampling.stop] or None,
    }
    sent = {
        name: value for name, value in fields.items() if (name, str(value)) not in dialect.dropped
    }
    if "tools" not in sent:
        sent.pop("tool_choice", None)
    told_messages = _messages(
        messages,
        request.files,
        has_tools="tools" in sent,
        sent_thoughts=sent_thoughts if dialect.has_thoughts else SentThoughts.NONE,
        thought_fields=request.product.facts.thought_fields,
    )
    return {
        "model": without_surrogates(request.model),
        "messages": told_messages,
        "stream": True,
        **({"stream_options": {"include_usage": True}} if dialect.has_stream_options else {}),
        **{name: value for name, value in told.items() if value is not None},
        **response_format(output, mode),
        **sent,
    }


def _names(field: str, words: str) -> bool:
    names = "|".join(filter(None, (field, _WORDS_FOR.get(field))))
    return re.search(rf"\b({names})\b", words, re.IGNORECASE) is not None


def tool_fields(request: ChatRequest) -> dict[str, Any]:
    """Return the fields that offer tools."""
    tools = [utf8_safe(wire_form(tool)) for tool in request.tools]
    choice = {"tool_choice": "required"} if request.must_call else {}
    return {"tools": tools, **choice} if tools else {}


def _messages(
    messages: Sequence[ChatMessage],
    files: Mapping[str, bytes],
    *,
    has_tools: bool,
    sent_thoughts: SentThoughts,
    thought_fields: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the messages as they are sent: a call with its result, or not at all.

    Without tools in the request, results become text of the next answer: chat templates of models without
    tools refuse them.
    """
    thoughts = thoughts_to_send(messages, sent_thoughts)
    told: list[dict[str, Any]] = []
    for place, one in enumerate(messages):
        role, content = (
            one.role,
            without_surrogates(one.sent_text if one.role is Role.TOOL else one.text),
        )
        results = takewhile(lambda after: after.role is Role.TOOL, messages[place + 1 :])
        answered = {call.call_id for result in results for call in result.tool_calls}
        calls = [_call(call) for call in one.tool_calls if call.call_id in answered]
        if has_tools and role is Role.TOOL:
            told.append(
                {"role": "tool", "tool_call_id": one.tool_calls[0].call_id, "content": content}
            )
            continue
        if role is Role.TOOL:
            role, content = (
                Role.ASSISTANT,
                f"Result of {without_surrogates(called(one))}:\n{content}",
            )
        if not has_tools and role is Role.ASSISTANT and told and told[-1]["role"] == "assistant":
            told[-1]["content"] = _joined(told[-1]["content"], content)
        else:
            told.append(
                {"role": role.value, "content": _with_files(one, files) if one.files else content}
            )
        if thoughts[place]:
            for name in thought_fields:
                thought = without_surrogates(thoughts[place])
                told[-1][name] = _joined(told[-1].get(name, ""), thought)
        if has_tools and calls:
            told[-1]["tool_calls"] = calls
    return told


def _joined(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))


def _with_files(message: ChatMessage, files: Mapping[str, bytes]) -> str | list[dict[str, Any]]:
    """Return the content of a prompt with its files: parts if it has images, else a text."""
    texts: list[str] = []
    images: list[dict[str, Any]] = []
    for part in message.files:
        data, name = files.get(part.digest), safe_line(part.name)
        if data is None:
            texts.append(f"[file {name} is missing]")
        elif part.is_image and data:
            url = f"data:{part.media_type};base64,{b64encode(data).decode()}"
            images.append({"type": "image_url", "image_url": {"url": url}})
        elif part.is_image:
            texts.append(f"[image {name}]")
        else:
            text = data.decode("utf-8-sig", "replace")
            fence = fence_for(text)
            texts.append(f"File {name}:\n{fence}\n{text.rstrip()}\n{fence}")
    content = "\n\n".join(filter(None, (*texts, without_surrogates(message.text))))
    if not images:
        return content
    return [*images, {"type": "text", "text": content}] if content else images


def _call(call: ToolCallPart) -> dict[str, Any]:
    """Return a call as it is sent back; templates fail on arguments that are not a JSON object."""
    arguments = without_surrogates(call.arguments) if arguments_of(call.arguments) else "{}"
    return {
        "id": without_surrogates(call.call_id),
        "type": "function",
        "function": {"name": without_surrogates(call.name), "arguments": arguments},
    }
