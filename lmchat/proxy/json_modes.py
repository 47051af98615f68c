"""How a server is asked for JSON: three ways, from the strictest down to words alone (R-12, R-13)."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Any

from lmchat.domain.message import ChatMessage, Role, text_message
from lmchat.domain.request import AnyObject, AnyText, FittingValue, Output
from lmchat.errors import ServerRejected
from lmchat.proxy.json_values import without_surrogates


class JsonMode(StrEnum):
    """A way to ask for JSON; the value is what servers call it."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    WORDS = "words"


LADDER = (JsonMode.SCHEMA, JsonMode.OBJECT, JsonMode.WORDS)
"""What most servers take, the strictest first."""
_KINDS = ("bad_request", "server_error", "unsupported", "model_not_loaded")
_ABOUT = re.compile(
    r"response[_ ]?format|json_?schema|json_?object|json schema|json mode|structured output|guided|grammar"
    r"|invalid schema|json_validate|(invalid|required for) format",
    re.IGNORECASE,
)
"""That a refusal is about how JSON was asked for."""
_UNKNOWN = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|must be|not (permitted|allowed)"
    r"|(not |un)available|forbidden|should be|only.* supported",
    re.IGNORECASE,
)
_THIS_SCHEMA = re.compile(
    r"schema error|invalid (json )?schema|grammar|\$ref|parser|json_validate", re.IGNORECASE
)
"""That it is about what this one schema holds: another one may well be taken."""
_ANY_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_NAME_CHARS = 64
_ALONE = "and nothing else: no explanation, no code fence."


def mode_for(output: Output, modes: tuple[JsonMode, ...]) -> JsonMode:
    """Return the first of these ways that can say what is wanted; words always can."""
    order: tuple[JsonMode, ...] = ()
    match output:
        case AnyObject():
            order = (JsonMode.OBJECT, JsonMode.SCHEMA)
        case FittingValue(schema=schema):
            is_object = schema.get("type") == "object" or "properties" in schema
            order = (JsonMode.SCHEMA, JsonMode.OBJECT) if is_object else (JsonMode.SCHEMA,)
        case AnyText():
            pass
    return next((mode for mode in order if mode in modes), JsonMode.WORDS)


def response_format(output: Output, mode: JsonMode) -> dict[str, Any]:
    """Return the field that asks for it; none for words."""
    if isinstance(output, AnyText) or mode is JsonMode.WORDS:
        return {}
    if mode is JsonMode.OBJECT:
        return {"response_format": {"type": "json_object"}}
    if isinstance(output, AnyObject):
        return _by_schema("object", {"type": "object"})
    return _by_schema(output.name, _sendable(output.schema))


def with_words(messages: tuple[ChatMessage, ...], output: Output, mode: JsonMode) -> tuple[ChatMessage, ...]:
    """Return the messages with what the field does not say, as a part of the system prompt.

    Also where any JSON object is wanted: OpenAI refuses that unless a message speaks of JSON, and others
    would write white space without end.
    """
    words = _words(output, mode)
    if not words:
        return messages
    if messages and messages[0].role is Role.SYSTEM:
        return (text_message(Role.SYSTEM, f"{messages[0].text}\n\n{words}"), *messages[1:])
    return (text_message(Role.SYSTEM, words), *messages)


def is_refused(error: ServerRejected) -> bool:
    """Whether a refusal is about how JSON was asked for."""
    if error.kind not in _KINDS:
        return False
    return _ABOUT.search(f"{error.message} {error.details} {error.param}") is not None


def is_unknown(error: ServerRejected) -> bool:
    """Whether such a refusal is about the way itself, so that it holds for every schema."""
    words = f"{error.message} {error.details} {error.param}"
    return _UNKNOWN.search(words) is not None and _THIS_SCHEMA.search(words) is None


def fall_note(error: ServerRejected, output: Output, mode: JsonMode) -> str:
    """Return what to tell of a fall: why, and how it is asked for now."""
    ways = {
        JsonMode.SCHEMA: "by a JSON schema",
        JsonMode.OBJECT: "as a JSON object",
        JsonMode.WORDS: "in words",
    }
    schema = ", the schema in words" if isinstance(output, FittingValue) and mode is JsonMode.OBJECT else ""
    return f"{error.message.rstrip('.')}. JSON is asked for {ways[mode]}{schema} now."


def _by_schema(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    name = _ANY_NAME.sub("_", name)[:_NAME_CHARS].strip("_") or "answer"
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}}


def _words(output: Output, mode: JsonMode) -> str:
    match output:
        case AnyObject():
            return f"Answer with one JSON object, {_ALONE}"
        case FittingValue(schema=schema) if mode is not JsonMode.SCHEMA:
            said = json.dumps(_sendable(schema), ensure_ascii=False)
            return f"Answer with one JSON value that fits this JSON schema, {_ALONE}\n\n{said}"
        case _:
            return ""


def _sendable(value: Any) -> Any:
    """Return a schema whose texts UTF-8 can carry."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_sendable(inner) for inner in value]
    if isinstance(value, dict):
        return {without_surrogates(name): _sendable(inner) for name, inner in value.items()}
    return value
