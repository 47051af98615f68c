"""Bulk reading of chunks that differ in their text alone.

From one chunk to the next most servers repeat all but the text. Decoded one by one in Python,
chunks of large reads would take more than three times the CPU time of reading them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from lmchat.proxy.json_values import NotJsonError, decode, encode, mapping, rows, text

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
        """Return the texts of chunks; None if not all of them have this frame."""
        start, end = len(self.before), -len(self.after)
        changes = [payload[start:end] for payload in payloads]
        framed = self.before + (self.after + self.before).join(changes) + self.after
        if framed != b"".join(payloads):
            return None
        joined = b"\n".join(changes)
        has_bare_quote = b'"' in joined.replace(b'\\"', b"")  # it would end the text
        if b"\\\\" in joined or has_bare_quote:
            return None
        try:
            texts = _decode_texts(b'["%b"]' % joined.replace(b"\n", b'","'))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return texts if len(texts) == len(changes) else None


def frame_of(payload: bytes) -> Frame | None:
    """Return the frame of a chunk; None unless it holds one text or thought alone."""
    try:
        chunk = decode(payload)
    except NotJsonError:
        return None
    choices = rows(mapping(chunk).get("choices"))
    delta = mapping(choices[0].get("delta")) if choices else {}
    fields = [name for name in _TEXT_FIELDS if delta.get(name)]
    if len(fields) != 1 or choices[0].get("index"):
        return None
    if any(delta.get(name) for name in _OTHER_FIELDS):
        return None

    name = fields[0]
    words = text(delta.get(name))
    before, _, after = payload.partition(encode(words))
    # Another text put in its place must be read as that text: else the same bytes are elsewhere.
    delta[name] = f"{words}?"
    try:
        has_own_place = decode(before + encode(delta[name]) + after) == chunk
    except NotJsonError:
        return None
    if not words or not has_own_place:
        return None
    return Frame(before + b'"', b'"' + after, is_thought=name != "content")
