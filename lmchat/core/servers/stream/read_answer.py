"""One streamed answer: from the bytes of a response to events in a queue."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import httpx

from lmchat.base.errors import ServerRejected, StreamInterrupted
from lmchat.base.json_values import NotJsonError, decode, dict_or_empty, dicts_in
from lmchat.core.servers.events import StreamEvent, StreamFinished
from lmchat.core.servers.http.connections import TRANSPORT_ERRORS, body_chunks
from lmchat.core.servers.http.network_errors import error_text, http_fault
from lmchat.core.servers.http.reply import is_error, is_failure, read_body
from lmchat.core.servers.http.sse import MalformedStreamError, SseEvent, SseReader
from lmchat.core.servers.stream.chunk import has_words
from lmchat.core.servers.stream.chunk_parser import ChunkParser
from lmchat.core.servers.stream.timeouts import IdleTimeout
from lmchat.core.servers.wire.refusals import (
    RefusalContext,
    not_an_llm_error,
    refusal,
    refusal_in_stream,
)

EventQueue = asyncio.Queue[StreamEvent | None]  # None behind the last
MAX_WAITING = 256  # then reading from the network pauses
MAX_WHOLE_BYTES = 1 << 20
DRAIN_S = 0.05  # for the end of a body behind `[DONE]`
_OVERFLOW_REASONS = ("model_context_window_exceeded",)  # of z.ai
_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/jsonl")
_STREAM_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")
_BEGINNING_BYTES = 64  # they show whether a body is a stream


async def read_answer(
    response: httpx.Response,
    chunks: ChunkParser,
    events: EventQueue,
    idle_timeout: IdleTimeout,
    context: RefusalContext,
    *,
    window: int | None,
) -> StreamFinished:
    """Return the last event of the answer, whose other events `chunks` puts into `events`.

    `window` is that of the model.

    Raises `StreamInterrupted` if the answer is not complete, or the stream is malformed, and
    `ServerRejected` for an error of the server, or no answer.
    """
    end = chunks.end
    body = body_chunks(response)
    sse = SseReader()

    def read_events(found: Sequence[SseEvent]) -> None:
        for event in found:
            chunks.note_stray(event.stray)
            chunks.read(event.data, event.name)
        chunks.post_held()

    network_error = ""  # how the connection broke
    broken = "the connection broke before the answer was complete"
    try:
        content_type = response.headers.get("content-type", "").lower()
        if content_type.startswith(_STREAM_TYPES):
            data = await end.next_part(body, idle_timeout, chunks.tell)
        else:
            data = await _read_untyped(response, body, chunks, context)
        while data is not None:
            found = sse.feed(data)
            read_events(found)
            if not found:  # as for a comment, the bytes only say that the server is alive
                chunks.read(b"")
            if not sse.stray.startswith((b"{", b"[")):  # JSON may have more lines
                chunks.note_stray(bytes(sse.stray))
            idle_timeout.note_data(has_token=chunks.has_token)
            if events.qsize() > MAX_WAITING:
                with idle_timeout.paused():
                    await events.join()
            if end.is_done:
                await _read_to_end(body)
                break
            data = await end.next_part(body, idle_timeout, chunks.tell)
        else:
            read_events(sse.close())
    except TRANSPORT_ERRORS as error:
        network_error = error_text(error)
        if isinstance(error, httpx.DecodingError):
            broken = str(error)  # it may be damaged, or of a kind that was not asked for
        elif (fault := http_fault(error)) and not fault.startswith("peer closed connection"):
            broken = f"the reply breaks HTTP: {fault}"
    except MalformedStreamError as error:
        raise StreamInterrupted(
            f"Streaming failed: malformed stream, {error}.",
            next_step="Check the server's log, or ask again.",
        ) from error
    finally:
        chunks.note_stray(bytes(sse.stray))
        chunks.close()
    finished = chunks.conclude(network_error, broken=broken)

    # an empty answer whose prompt fills the window is an overflow
    if not chunks.has_posted_token:
        if end.reason in _OVERFLOW_REASONS:
            raise refusal_in_stream({"code": end.reason}, context)
        tokens = chunks.usage.prompt_tokens if chunks.usage is not None else None
        if window and tokens is not None and tokens >= window:
            full = {"code": "context_length_exceeded", "n_ctx": window}
            raise refusal_in_stream(full, context)
    return finished


async def _read_untyped(
    response: httpx.Response,
    body: AsyncIterator[bytes],
    chunks: ChunkParser,
    context: RefusalContext,
) -> bytes | None:
    """Read a reply without the content type of an event stream (R-23).

    It may be a stream all the same, whose beginning is returned, an answer in JSON, or anything
    else: `ServerRejected`.
    """
    content = bytearray()
    async for data in body:
        content += data
        # a byte order mark and white space may come first
        beginning = content[:_BEGINNING_BYTES].removeprefix(BOM_UTF8).lstrip()
        if beginning.startswith(_STREAM_BEGINNINGS):
            return bytes(content)
        if len(content) > MAX_WHOLE_BYTES:
            break  # a reply that is cut is no JSON
    try:
        value = decode(bytes(content))
    except NotJsonError:
        value = None
    fields = dict_or_empty(value)
    choices = fields.get("choices")
    if len(only := dicts_in(choices)) == 1:
        only[0]["index"] = 0  # whatever the server says, BerriAI/litellm#3678
    # words beside an answer, such as `"msg": "success"`, are no refusal, nor is an error
    is_answer = choices or ("choices" in fields and not has_words(fields))
    if not is_answer or is_failure(value):
        raise _no_answer_error(response, value, bytes(content), context)
    chunks.read_chunk(value, bytes(content))
    chunks.end.note_done()
    return None


def _no_answer_error(
    response: httpx.Response, value: object, body: bytes, context: RefusalContext
) -> ServerRejected:
    """Return the error of a refusal or a web page; else that no model has answered."""
    # `refusal` recognises a web page, and its result has the details
    rejected = refusal(response.status_code, response.headers, body, context)
    is_web_page = rejected.kind == "not_an_llm"
    if is_error(value) or is_web_page or has_words(dict_or_empty(value)):
        return rejected
    reason = "the reply is not a model's answer."
    if (value is None or isinstance(value, str)) and (
        text := read_body(body, secrets=context.secrets).message
    ):
        reason = f"it says: {text}"
    return not_an_llm_error(reason, rejected.details)


async def _read_to_end(body: AsyncIterator[bytes]) -> None:
    """Drop the rest of a body, within `DRAIN_S`, so that its connection can be used again."""
    with suppress(TimeoutError, *TRANSPORT_ERRORS):
        async with asyncio.timeout(DRAIN_S):
            async for _ in body:
                pass
