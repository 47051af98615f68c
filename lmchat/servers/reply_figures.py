"""Times and token counts of a reply that is passed on: read from its bytes, which stay as they are.

Chunks are not decoded as they pass, because that would delay them. The counts are in the last
chunks of a stream, or in the one object of a whole reply.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from lmchat.servers.events import UsageReported
from lmchat.servers.http.json_values import (
    NotJsonError,
    decode,
    dict_or_empty,
    dicts_in,
    str_or_empty,
)
from lmchat.servers.stream.chunks import ServerUsage

_STREAM_TAIL_BYTES = 32 * 1024  # of a stream: several chunks, also with probabilities
_WHOLE_BYTES = 1024 * 1024  # a longer reply is not searched; those with vectors may be long
_DATA = b"data:"


class ReplyCounts(Struct, frozen=True, kw_only=True):
    """Counts of one reply; None for what the server has not told."""

    prompt_tokens: int | None = None
    prompt_tokens_per_second: float | None = None
    completion_tokens: int | None = None
    tokens_per_second: float | None = None
    finish_reason: str = ""


class ReplyFigures:
    """Figures of one reply, whose bytes are noted as they pass."""

    def __init__(self) -> None:
        self.is_stream = False
        # Values of `perf_counter`; None before the first byte:
        self.first_byte_s: float | None = None
        self.last_byte_s: float | None = None
        self._kept = bytearray()  # the end of a stream, or a whole reply

    def note(self, chunk: bytes) -> None:
        """Note a part of the body, which has just arrived."""
        self.last_byte_s = time.perf_counter()
        if self.first_byte_s is None:
            self.first_byte_s = self.last_byte_s
        self._kept += chunk
        if not self.is_stream:
            del self._kept[_WHOLE_BYTES:]  # what is cut is no JSON, and gives no counts
            return
        if len(self._kept) > 2 * _STREAM_TAIL_BYTES:  # not with each chunk, which would be slow
            del self._kept[:-_STREAM_TAIL_BYTES]

    def counts(self) -> ReplyCounts:
        """Return the counts that the last chunks, or the whole reply, contain."""
        usage = ServerUsage()
        finish_reason = ""
        for value in self._values():
            usage.take_usage(value.get("usage"))
            usage.take_timings(value.get("timings") or value.get("stats"))
            for choice in dicts_in(value.get("choices")):
                finish_reason = str_or_empty(choice.get("finish_reason")) or finish_reason
        reported = usage.report() or UsageReported()

        tokens = reported.completion_tokens
        return ReplyCounts(
            prompt_tokens=reported.prompt_tokens,
            prompt_tokens_per_second=reported.prompt_tokens_per_second,
            completion_tokens=tokens,
            tokens_per_second=reported.tokens_per_second or self._measured_speed(tokens),
            finish_reason=finish_reason,
        )

    def _measured_speed(self, tokens: int | None) -> float | None:
        """Return the tokens per second from the first byte to the last; None if it is not known.

        The first token is not counted, because the measured time begins when it arrives. A whole
        reply arrives at once, so its speed is not known.
        """
        if not (self.is_stream and tokens and self.first_byte_s and self.last_byte_s):
            return None
        elapsed_s = self.last_byte_s - self.first_byte_s
        return (tokens - 1) / elapsed_s if elapsed_s > 0 and tokens > 1 else None

    def _values(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects in the kept bytes; a cut one is left out."""
        texts = [bytes(self._kept)]
        if self.is_stream:
            lines = texts[0].splitlines()
            texts = [line.removeprefix(_DATA) for line in lines if line.startswith(_DATA)]
        for text in texts:
            try:
                yield dict_or_empty(decode(text))
            except NotJsonError:  # cut, or `[DONE]`
                continue
