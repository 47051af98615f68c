"""One streamed answer: from the bytes of a response to events in a queue."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial

import httpx

from lmchat.errors import ServerRejected, StreamInterrupted
from lmchat.servers.events import RequestAdapted, StreamEvent, StreamFinished
from lmchat.servers.http.connections import body_chunks
from lmchat.servers.http.json_values import NotJsonError, decode, dict_or_empty
from lmchat.servers.http.network_errors import TRANSPORT_ERRORS, error_words
from lmchat.servers.http.reply import is_error, read_body
from lmchat.servers.http.sse import MalformedStreamError, SseEvent, SseReader
from lmchat.servers.stream.chunk_parser import ChunkParser
from lmchat.servers.stream.end import AnswerEnd
from lmchat.servers.stream.think_tags import ThoughtFilter
from lmchat.servers.stream.timeouts import IdleTimeout
from lmchat.servers.wire.refusals import (
    RefusalContext,
    not_an_llm_error,
    overflow_error,
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


class ResponseReader:
    """Reader of one response, whose events it puts into a queue."""

    def __init__(
        self,
        response: httpx.Response,
        *,
        refusal_context: RefusalContext,
        events: EventQueue,
        idle_timeout: IdleTimeout,
        end: AnswerEnd,
        thought_filter: ThoughtFilter,
        window: int | None,
        is_parallel: bool,
    ) -> None:
        """`window` is that of the model; the others are for `ChunkParser`."""
        self._response = response
        self._refusal_context = refusal_context
        self._window = window
        self._end = end
        self._events = events
        self._idle_timeout = idle_timeout
        self._sse = SseReader()
        self._stray = b""  # lines behind the last event that were noted
        refusal_of = partial(refusal_in_stream, context=refusal_context)
        self._chunks = ChunkParser(
            refusal_of,
            events.put_nowait,
            end=end,
            thought_filter=thought_filter,
            is_parallel=is_parallel,
            tools=refusal_context.tools,
        )

    @property
    def has_posted_token(self) -> bool:
        return self._chunks.has_posted_token

    async def read(self) -> StreamFinished:
        """Return the last event of the answer.

        Raises `StreamInterrupted` if the answer is not complete, or the stream is malformed, and
        `ServerRejected` for an error of the server, or no answer.
        """
        content_type = self._response.headers.get("content-type", "").lower()
        body = body_chunks(self._response)
        network_error = ""  # how the connection broke
        broken = "the connection broke before the answer was complete"
        try:
            if content_type.startswith(_STREAM_TYPES):
                await self._read_stream(body)
            else:
                await self._read_untyped(body)
        except TRANSPORT_ERRORS as error:
            network_error = error_words(error)
            if isinstance(error, httpx.DecodingError):
                broken = str(error)  # it may be damaged, or of a kind that was not asked for
        except MalformedStreamError as error:
            raise StreamInterrupted(
                f"Streaming failed: malformed stream, {error}.",
                hint="The text so far is kept; check the server's log.",
            ) from error
        finally:
            self._note_stray(bytes(self._sse.stray))
            self._chunks.close()
        finished = self._chunks.conclude(network_error, broken=broken)
        self._require_read_prompt()
        return finished

    def _require_read_prompt(self) -> None:
        """Raise the error of an overflow for an empty answer whose prompt fills the window."""
        if self._chunks.has_posted_token:
            return
        if self._end.reason in _OVERFLOW_REASONS:
            raise refusal_in_stream({"code": self._end.reason}, self._refusal_context)
        usage = self._chunks.usage
        tokens = usage.prompt_tokens if usage is not None else None
        if self._window and tokens is not None and tokens >= self._window:
            raise overflow_error(tokens, self._window, self._refusal_context)

    async def _read_stream(self, body: AsyncIterator[bytes], beginning: bytes = b"") -> None:
        """Read to the end, or to `[DONE]`; `beginning` was read before."""
        if beginning:
            await self._read_part(beginning)
        while not self._end.is_done:
            data = await self._end.next_part(body, self._idle_timeout, self._tell)
            if data is None:
                self._read_events(self._sse.close())
                return
            await self._read_part(data)
        await _read_to_end(body)

    async def _read_part(self, data: bytes) -> None:
        events = self._sse.feed(data)
        self._read_events(events)
        if not events:  # as for a comment, the bytes only say that the server is alive
            self._chunks.read(b"")
        if not self._sse.stray.startswith((b"{", b"[")):  # JSON may have more lines
            self._note_stray(bytes(self._sse.stray))
        self._idle_timeout.note_data(has_token=self._chunks.has_posted_token)
        if self._events.qsize() > MAX_WAITING:
            with self._idle_timeout.paused():
                await self._events.join()

    def _read_events(self, events: Sequence[SseEvent]) -> None:
        for event in events:
            self._note_stray(event.stray)
            self._chunks.read(event.data, event.name)
            self._stray = b""

    def _note_stray(self, lines: bytes) -> None:
        """Note lines that are no events, but not the same ones twice."""
        if lines != self._stray:
            self._stray = lines
            self._chunks.note_stray(lines)

    def _tell(self, words: bytes) -> None:
        note = refusal_in_stream(words, self._refusal_context).message
        self._events.put_nowait(RequestAdapted(note=note))

    async def _read_untyped(self, body: AsyncIterator[bytes]) -> None:
        """Read a reply without the content type of an event stream (R-23).

        It may be a stream all the same, an answer in JSON, or anything else: `ServerRejected`.
        """
        content = bytearray()
        async for data in body:
            content += data
            # a byte order mark and white space may come first
            beginning = content[:_BEGINNING_BYTES].removeprefix(BOM_UTF8).lstrip()
            if beginning.startswith(_STREAM_BEGINNINGS):
                await self._read_stream(body, bytes(content))
                return
            if len(content) > MAX_WHOLE_BYTES:
                break  # a reply that is cut is no JSON
        try:
            value = decode(bytes(content))
        except NotJsonError:
            value = None
        fields = dict_or_empty(value)
        choices = fields.get("choices")
        # words beside an answer, such as `"msg": "success"`, are no refusal, nor is an error
        is_answer = choices or ("choices" in fields and not _has_words(value))
        if not is_answer or is_error({"choices": choices} if choices else value):
            raise self._no_answer_error(value, bytes(content))
        self._chunks.read_chunk(value)
        self._end.note_done()

    def _no_answer_error(self, value: object, body: bytes) -> ServerRejected:
        """Return the error of a refusal or a web page; else that no model has answered."""
        status = self._response.status_code
        # `refusal` recognises a web page, and its result has the details
        rejected = refusal(status, self._response.headers, body, self._refusal_context)
        is_web_page = rejected.kind == "not_an_llm"
        if is_error(value) or is_web_page or _has_words(value):
            return rejected
        key = self._refusal_context.key
        reason = "the reply is not a model's answer."
        if (value is None or isinstance(value, str)) and (
            words := read_body(body, key=key).message
        ):
            reason = f"it says: {words}"
        return not_an_llm_error(reason, rejected.details)


def _has_words(value: object) -> bool:
    words = ("errors", "detail", "message", "msg")
    return any(dict_or_empty(value).get(name) for name in words)


async def _read_to_end(body: AsyncIterator[bytes]) -> None:
    """Drop the rest of a body, within `DRAIN_S`, so that its connection can be used again."""
    with suppress(TimeoutError, *TRANSPORT_ERRORS):
        async with asyncio.timeout(DRAIN_S):
            async for _ in body:
                pass
