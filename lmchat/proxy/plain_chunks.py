"""The shape that nearly every chunk of a stream has, decoded in bulk: text or thought, and nothing else.

The decoder checks all of the shape by itself, so that no line of Python is spent on a field that is not
there. A chunk of any other shape is for the tolerant reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from lmchat.proxy.json_values import NotJsonError, decode

_Nothing = Annotated[list[Raw], Meta(max_length=0)] | Literal[""] | None


class _Delta(Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: _Nothing = None
    tool_calls: _Nothing = None
    function_call: _Nothing = None
    refusal: _Nothing = None


class _Choice(Struct, gc=False):
    delta: _Delta
    index: Literal[0] | None = None
    finish_reason: Literal[""] | None = None
    message: None = None


class PlainChunk(Struct, gc=False):
    """A chunk that tells no more than text or thought, and how long things took."""

    choices: tuple[_Choice]
    """Exactly one."""
    timings: Raw = Raw()
    """As it came; only the last of many is looked at."""
    object: Literal["chat.completion.chunk", "chat.completion", ""] | None = None
    """Neither of them is an error."""
    usage: None = None
    """Is for the tolerant reader, as all that follows."""
    error: None = None
    error_message: None = None
    prompt_progress: None = None
    stats: None = None


class _NamelessChunk(PlainChunk, gc=False):
    model: _Nothing = None


_NAMED = msgspec.json.Decoder(PlainChunk).decode
_NAMELESS = msgspec.json.Decoder(_NamelessChunk).decode


def leading(payloads: Iterator[bytes], *, may_name: bool) -> tuple[list[PlainChunk], bytes | None]:
    """Take plain chunks until one is not plain; return them, and that one, None at the end.

    `may_name` allows them to name their model, which is of interest once.
    """
    decode_chunk = _NAMED if may_name else _NAMELESS
    chunks: list[PlainChunk] = []
    payload = b""
    try:
        for payload in payloads:
            chunks.append(decode_chunk(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return chunks, payload
    return chunks, None


def told_by(chunks: list[PlainChunk]) -> list[tuple[bool, list[str]]]:
    """Return what chunks tell as (is thought, texts), neighbours of one kind together, no text empty."""
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thoughts = [delta.reasoning_content or delta.reasoning for delta in deltas]
    contents = [delta.content for delta in deltas]
    if any(thoughts) and any(contents):
        return _in_turn(thoughts, contents)
    texts = list(filter(None, thoughts if any(thoughts) else contents))
    return [(any(thoughts), texts)] if texts else []


def last_timings(chunks: list[PlainChunk]) -> dict[str, Any] | None:
    """Return the newest timings that chunks tell, None where none does."""
    for chunk in reversed(chunks):
        if chunk.timings:
            value = _decoded(chunk.timings)
            if value and isinstance(value, dict):
                return value
    return None


def _decoded(raw: Raw) -> Any:
    try:
        return decode(bytes(raw))
    except NotJsonError:
        return None


def _in_turn(thoughts: list[str | None], contents: list[str | None]) -> list[tuple[bool, list[str]]]:
    told: list[tuple[bool, list[str]]] = []
    for thought, content in zip(thoughts, contents, strict=True):
        for is_thought, text in ((True, thought), (False, content)):
            if text and told and told[-1][0] is is_thought:
                told[-1][1].append(text)
            elif text:
                told.append((is_thought, [text]))
    return told
