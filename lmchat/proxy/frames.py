"""Bulk reading of chunks that differ in their text alone.

From one chunk to the next most servers repeat all but the text. Decoded one by one in Python,
chunks of large reads would take more than three times the CPU time of reading them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from lmchat.proxy.json_values import (
    NotJsonError,
    decode,
    dict_or_empty,
    dicts_in,
    encode,
    str_or_empty,
)

MIN_CHUNKS = 8  # with fewer, the search for a frame costs more than it saves
_TEXT_FIELDS = ("content", "reasoning_content", "reasoning")
_OTHER_FIELDS = ("tool_calls", "function_call", "refusal", "reasoning_details")
"""Fields that add something with each repetition."""
_decode_texts = msgspec.json.Decoder(list[str]).decode


class Frame(Struct, frozen=True):
    """Bytes that chunks have in common around their text."""

    before: bytes  # a chunk up to the text, with its quotation mark
    after: bytes
    is_thought: bool

    def texts(self, payloads: Sequence[bytes]) -> list[str] | None:
        """Return the texts of chunks; None if not all of them have this frame.

        The texts are cut out, and decoded together as one JSON list, in which a line break
        separates them. A text that might not end where it was cut makes the result None.
        """
        start, end = len(self.before), -len(self.after)
        encoded_texts = [payload[start:end] for payload in payloads]
        rebuilt = self.before + (self.after + self.before).join(encoded_texts) + self.after
        if rebuilt != b"".join(payloads):
            return None

        joined = b"\n".join(encoded_texts)  # JSON has no line break inside a text
        has_bare_quote = b'"' in joined.replace(b'\\"', b"")  # it would end the text
        has_escaped_backslash = b"\\\\" in joined  # it may stand before a quote that ends the text
        if has_escaped_backslash or has_bare_quote:
            return None
        try:
            texts = _decode_texts(b'["%b"]' % joined.replace(b"\n", b'","'))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return texts if len(texts) == len(encoded_texts) else None


def frame_of(payload: bytes) -> Frame | None:
    """Return the frame of a chunk; None unless it adds one text or thought and nothing else."""
    try:
        chunk = decode(payload)
    except NotJsonError:
        return None
    choices = dicts_in(dict_or_empty(chunk).get("choices"))
    if not choices or choices[0].get("index"):
        return None
    delta = dict_or_empty(choices[0].get("delta"))
    field = _only_text_field(delta)
    chunk_text = str_or_empty(delta.get(field))
    if not chunk_text:
        return None

    before, _, after = payload.partition(encode(chunk_text))
    # The same bytes may occur elsewhere in the chunk. So put another text in their place: what is
    # decoded must then be the chunk with this text. (`delta` is a part of `chunk`.)
    delta[field] = f"{chunk_text}?"
    try:
        is_place_of_text = decode(before + encode(delta[field]) + after) == chunk
    except NotJsonError:
        return None
    if not is_place_of_text:
        return None
    return Frame(before + b'"', b'"' + after, is_thought=field != "content")


def _only_text_field(delta: dict[str, Any]) -> str:
    """Return the field of a delta that has text; empty unless it is the only one with content."""
    text_fields = [name for name in _TEXT_FIELDS if delta.get(name)]
    has_other_content = any(delta.get(name) for name in _OTHER_FIELDS)
    if len(text_fields) != 1 or has_other_content:
        return ""
    return text_fields[0]
