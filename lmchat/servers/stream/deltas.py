"""What a delta adds to an answer; each server has its own fields for thoughts and texts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lmchat.servers.http.json_values import JsonObject, dict_or_empty, str_or_empty

THOUGHT, TEXT, REFUSAL, CALLS = "thought", "text", "refusal", "calls"
Piece = tuple[str, str, str]
"""Kind, text, and field of the delta."""
_THOUGHT_FIELDS = (
    *("reasoning_content", "reasoning", "reasoning_text", "thinking"),
    *("reasoning_details", "thinking_blocks"),
)
_TEXT_NAMES = ("text", "summary", "thinking", "content")
_THOUGHT_TYPES = re.compile("thinking|reasoning|thought")  # of a part of the content


def pieces_of(delta: JsonObject) -> Iterator[Piece]:
    """Yield what is not empty of a delta or `message`."""
    for field in _THOUGHT_FIELDS:
        # some servers send the same thought in several
        if (value := delta.get(field)) and (thought := _joined_text(value)):
            yield (THOUGHT, thought, field)
            break
    content = delta.get("content")
    if isinstance(content, str):
        if content:
            yield (TEXT, content, "content")
    elif content:
        # a list of parts, or one: texts, and objects with text or thought
        for part in content if isinstance(content, list) else [content]:
            yield from _pieces_of_part(part)
    if (refusal := delta.get("refusal")) and isinstance(refusal, str):
        yield (REFUSAL, refusal, "refusal")


def _pieces_of_part(part: object) -> Iterator[Piece]:
    fields = dict_or_empty(part)
    is_thought = _THOUGHT_TYPES.search(str_or_empty(fields.get("type"))) is not None
    thought = _joined_text(fields.get("thinking"))  # Mistral's field for a thought
    if is_thought and not thought:
        places = (fields.get("summary"), fields.get("content"), fields)
        thought = next(filter(None, map(_joined_text, places)), "")
    if thought:
        yield (THOUGHT, thought, "content")
    text = "" if is_thought else str_or_empty(part) or str_or_empty(fields.get("text"))
    if text:
        yield (TEXT, text, "content")


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
