"""One chunk of an answer: the names of fields of servers end here.

Each server has its own fields for text, thought and refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum

from msgspec import Struct

from lmchat.base.json_values import JsonObject, dict_or_empty, dicts_in, str_or_empty
from lmchat.core.servers.events import ReasoningDelta, RefusalDelta, TextDelta
from lmchat.core.servers.http.reply import choice_of, is_error, is_failure, may_be_error

MAX_NAME_CHARS = 1024
"""Of model, build and finish reason, which rows show."""
Piece = TextDelta | ReasoningDelta | RefusalDelta | JsonObject | None
"""A `dict` is a fragment of a tool call; None is not read."""
_THOUGHT_FIELDS = (
    *("reasoning_content", "reasoning", "reasoning_text", "thinking"),
    *("reasoning_details", "thinking_blocks"),
)
_TEXT_NAMES = ("text", "summary", "thinking", "content")
_THOUGHT_TYPES = re.compile("thinking|reasoning|thought")  # of a part of the content
_NO_REASONS = ("null", "None")  # in a text


class Fault(IntEnum):
    """What a chunk has in place of an answer or beside it, and how long that counts."""

    NONE = 0
    WORDS = 1  # or what the server is doing; until text follows
    ERROR = 2  # beside an answer; unless that ends well
    FAILURE = 3  # whatever follows


class Chunk(Struct, frozen=True, kw_only=True):
    """What a JSON object of the server adds to an answer (R-16)."""

    pieces: list[Piece]
    again: list[Piece]
    """Pieces of a `message` or `text`, which may repeat those of this chunk, or of all."""
    has_unread_call: bool  # in a form that is not read
    has_other_choice: bool  # with text, thought or a call; see `choice_of`
    is_unknown: bool  # without choices, or with texts under other names alone
    logprobs: object
    reason: str
    fault: Fault


def chunk_of(value: object, data: bytes) -> Chunk:
    """Read a decoded chunk, or whole answer; `data` is its JSON."""
    fields = dict_or_empty(value)
    choice = choice_of(fields)
    delta = dict_or_empty(choice.get("delta"))
    message = dict_or_empty(choice.get("message"))
    pieces = list(pieces_of(choice.get("delta")))
    again = list(pieces_of(choice.get("message")))
    if (text := choice.get("text")) and not again:
        again = list(pieces_of({"content": text}))
    reason = str_or_empty(choice.get("finish_reason"))[:MAX_NAME_CHARS]
    choices = fields.get("choices")
    fault = Fault.WORDS if not choices and has_words(fields) else Fault.NONE
    if may_be_error(data) and is_error(value):
        fault = Fault.FAILURE if is_failure(value) else Fault.ERROR
    return Chunk(
        pieces=pieces,
        again=again,
        has_unread_call=_has_unread_call(delta) or _has_unread_call(message),
        has_other_choice=choices != [choice]
        and any(
            [*pieces_of(one.get("delta") or one.get("message"))]
            for one in dicts_in(choices)
            if one is not choice
        ),
        is_unknown=not (pieces or again) and _is_unknown(fields, delta | message),
        logprobs=choice.get("logprobs"),
        reason="" if reason in _NO_REASONS else reason,
        fault=fault,
    )


def pieces_of(value: object) -> Iterator[Piece]:
    """Yield what is not empty of a delta or `message`."""
    if not value:
        return
    delta = dict_or_empty(value)
    if not delta or delta.get("images") or delta.get("audio"):
        yield None
    for field in _THOUGHT_FIELDS:
        # some servers send the same thought in several
        if (value := delta.get(field)) and (thought := _joined_text(value)):
            yield ReasoningDelta(text=thought)
            break
    content = delta.get("content")
    if isinstance(content, str):
        if content:
            yield TextDelta(text=content)
    elif content is not None:
        # a list of parts, or one: texts, and objects with text or thought
        for part in content if isinstance(content, list) else [content]:
            yield from _pieces_of_part(part)
    if refusal := str_or_empty(delta.get("refusal")):
        yield RefusalDelta(text=refusal)
    yield from dicts_in(delta.get("tool_calls"))


def has_words(fields: JsonObject) -> bool:
    has_message = isinstance(fields.get("message") or fields.get("msg"), str)
    return has_message or bool(fields.get("detail") or fields.get("errors"))


def _is_unknown(fields: JsonObject, delta: JsonObject) -> bool:
    """Return whether a chunk without text may have one that is not read."""
    texts = (text for name, text in delta.items() if name != "role" and isinstance(text, str))
    is_known = "usage" in fields or isinstance(fields.get("choices", ""), list | None)
    return any(texts) or not is_known


def _has_unread_call(delta: JsonObject) -> bool:
    calls = delta.get("tool_calls")
    return bool(delta.get("function_call") or (calls and not dicts_in(calls)))


def _pieces_of_part(part: object) -> Iterator[Piece]:
    fields = dict_or_empty(part)
    is_thought = _THOUGHT_TYPES.search(str_or_empty(fields.get("type"))) is not None
    thought = _joined_text(fields.get("thinking"))  # Mistral's field for a thought
    if is_thought and not thought:
        places = (fields.get("summary"), fields.get("content"), fields)
        thought = next(filter(None, map(_joined_text, places)), "")
    if thought:
        yield ReasoningDelta(text=thought)
    text = "" if is_thought else str_or_empty(part) or str_or_empty(fields.get("text"))
    if text:
        yield TextDelta(text=text)
    elif not (is_thought or thought) and fields.get("text", part) not in ("", None, {}, []):
        yield None


def _joined_text(value: object) -> str:
    """Return a text, or the joined texts of a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        texts = (str_or_empty(value.get(name)) for name in _TEXT_NAMES)
        return next(filter(None, texts), "")
    if isinstance(value, list):
        return "".join(_joined_text(one) for one in value if isinstance(one, str | dict))
    return ""
