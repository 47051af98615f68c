"""Pass-through of a request of another program: its body as it came, the reply byte for byte.

After a reply has started, the request is not sent again. The API key is cut out of replies.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from functools import partial
from typing import Any

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.errors import LMChatError, ServerRejected
from lmchat.base.json_values import NotJsonError, decode
from lmchat.base.processes.background import end_tasks
from lmchat.base.safe_text import without_secret
from lmchat.core.servers.events import UsageReported
from lmchat.core.servers.http.connections import (
    TRANSPORT_ERRORS,
    body_chunks,
    errors_as_unavailable,
)
from lmchat.core.servers.http.sse import MalformedStreamError, SseEvent, SseReader
from lmchat.core.servers.request import ForwardedReply, ForwardedRequest
from lmchat.core.servers.sending.exchange import Exchange
from lmchat.core.servers.sending.prepared_request import STREAM_HEADERS
from lmchat.core.servers.stream.chunk_parser import ChunkParser
from lmchat.core.servers.stream.end import AnswerEnd
from lmchat.core.servers.stream.timeouts import IdleTimeout
from lmchat.core.servers.wire.refusals import RefusalContext, refusal_in_stream
from lmchat.core.sessions.message import AnswerState, AnswerStats

_WHOLE_BYTES = 1024 * 1024  # longer replies are not searched for counts; embeddings are long
_MAX_UNREAD_BYTES = 64 * 1024 * 1024  # of a reply that is taken slower than it arrives
# for a model that is listed, but not loaded
_UNLOADED_KINDS = ("model_not_loaded", "model_missing")
_logger = logging.getLogger(__name__)


class Forwarding(Struct, kw_only=True):
    """Request of another program, from the first attempt to the end of its reply."""

    request: ForwardedRequest
    exchange: Exchange
    load_model: Callable[[], Awaitable[None]]  # raises `LMChatError` if the server cannot
    on_end: Callable[[AnswerState, AnswerStats], None]
    _has_tried_load: bool = False
    _refused: list[ForwardedReply] = field(default_factory=list)  # as they came
    _reader: _ReplyReader | None = None  # None until a reply has started
    # values of `perf_counter`:
    _started_s: float = field(default_factory=time.perf_counter)
    _sent_s: float = 0.0  # of the last attempt
    _first_byte_s: float | None = None

    @asynccontextmanager
    async def reply(self) -> AsyncIterator[ForwardedReply]:
        """Yield the reply, also a refusal; its connection is closed after the block.

        Raises `ServerUnavailable` if the server does not answer, or the reply has broken off, and
        `StreamInterrupted` if it has stopped for too long.
        """
        self.exchange.access.counters.add(total_requests=1)
        state = AnswerState.FAILED  # also after a refusal and an unexpected error
        reply: ForwardedReply | None = None  # None until it has started
        try:
            async with AsyncExitStack() as stack:
                try:
                    reply = await self.exchange.attempts(
                        partial(self._send, stack), self._try_to_load
                    )
                except ServerRejected:
                    reply = self._refused[-1]
                yield reply
            if httpx.codes.is_success(reply.status):
                state = AnswerState.COMPLETE
        except (asyncio.CancelledError, GeneratorExit):
            state = AnswerState.STOPPED
            raise
        except LMChatError as error:
            if reply is not None:
                state = AnswerState.INTERRUPTED
            _logger.info("forwarded request: %s", error.kind)
            raise
        finally:
            stats = self._stats()
            has_failed = self._reader is not None and self._reader.end.has_failed
            if has_failed and state is AnswerState.COMPLETE:
                state = AnswerState.INTERRUPTED
            self.exchange.access.counters.add_end(state, stats.elapsed_ms)
            self.on_end(state, stats)

    async def _send(self, stack: AsyncExitStack, idle_timeout: IdleTimeout) -> ForwardedReply:
        """Raise the error of a refusal.

        Connection, `idle_timeout` and generator of the body end with `stack`, or after a failure at
        once.
        """
        exchange = self.exchange
        self._sent_s = time.perf_counter()
        context = replace(exchange.refusal_context, sent=self.request.body)
        url = f"{exchange.target.endpoint.base_url}{self.request.path}"
        async with AsyncExitStack() as attempt:
            opening = exchange.response(url, STREAM_HEADERS, self.request.body, idle_timeout)
            response = await attempt.enter_async_context(opening)
            headers = {
                name.lower(): without_secret(value, *context.secrets)
                for name, value in response.headers.items()
            }
            if not response.is_success:
                body, error = await exchange.read_refusal(response, context)
                said = body.decode(errors="surrogateescape")
                told = without_secret(said, *context.secrets).encode(errors="surrogateescape")
                chunks = _one_chunk(told)
                refused = ForwardedReply(
                    status=response.status_code, headers=headers, chunks=chunks
                )
                self._refused.append(refused)
                raise error
            self._reader = _ReplyReader(
                self.request,
                exchange,
                idle_timeout,
                context,
                is_stream=headers.get("content-type", "").lower().startswith("text/event-stream"),
            )
            chunks = self._chunks(response, idle_timeout, self._reader)
            attempt.push_async_callback(chunks.aclose)
            stack.push_async_exit(attempt.pop_all())  # a success: all moves to `stack`
            return ForwardedReply(status=response.status_code, headers=headers, chunks=chunks)

    def _without_key(self, data: bytes) -> bytes:
        key = self.exchange.key.encode()
        return data.replace(key, "…".encode()) if key else data

    def _partial_key_bytes(self, data: bytes) -> int:
        """Return with how many of its last bytes the API key may start."""
        key = self.exchange.key.encode()
        return max((size for size in range(1, len(key)) if data.endswith(key[:size])), default=0)

    async def _chunks(
        self, response: httpx.Response, idle_timeout: IdleTimeout, reader: _ReplyReader
    ) -> AsyncGenerator[bytes, None]:
        """Count no silence while a chunk waits to be taken.

        Bytes with which the API key may start wait for the next chunk.
        """
        body = body_chunks(response)
        held = b""
        with errors_as_unavailable(self.exchange.target.endpoint):
            while True:
                try:
                    chunk = await reader.next_part(body)
                except TRANSPORT_ERRORS:
                    if held:
                        yield held
                    raise
                if chunk is None:
                    if held:
                        yield held
                    return
                if self._first_byte_s is None:
                    self._first_byte_s = time.perf_counter()
                reader.read(chunk)
                # for any kind of reply, any byte counts as the first token
                idle_timeout.note_data(has_token=True)
                ready = self._without_key(held + chunk)
                shown = len(ready) - self._partial_key_bytes(ready)
                ready, held = ready[:shown], ready[shown:]
                if ready:
                    with idle_timeout.paused():
                        yield ready

    async def _try_to_load(self, error: ServerRejected) -> bool:
        """Load the model once if a refusal says that it is missing."""
        if error.kind not in _UNLOADED_KINDS or self._has_tried_load:
            return False
        self._has_tried_load = True
        try:
            await self.load_model()
        except LMChatError as load_error:
            _logger.info("loading for a forwarded request: %s", load_error.kind)
            return False
        return True

    def _stats(self) -> AnswerStats:
        """Take the first byte as the first token, and as the first word."""
        first_s = self._first_byte_s
        usage = UsageReported()
        finish_reason = ""
        if self._reader is not None:
            self._reader.close()
            usage = self._reader.chunks.usage or usage
            finish_reason = self._reader.end.reason
        return AnswerStats(
            product=self.request.model.product,
            ttft_ms=None if first_s is None else (first_s - self._sent_s) * 1e3,
            prompt_tokens_per_second=usage.prompt_tokens_per_second,
            tokens_per_second=usage.tokens_per_second,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens or None,  # 0 means that nobody has counted
            is_estimated=False,  # other counts stay None
            retries=self.exchange.retries,
            elapsed_ms=(time.perf_counter() - self._started_s) * 1e3,
            finish_reason=finish_reason,
            wait_ms=None if first_s is None else (first_s - self._started_s) * 1e3,
        )


@asynccontextmanager
async def read_beside(
    opening: AbstractAsyncContextManager[ForwardedReply],
) -> AsyncIterator[ForwardedReply]:
    """Enter `opening` and read its reply in a task, so that it ends when the server is done.

    At most `_MAX_UNREAD_BYTES` are read before they are taken. Errors after the beginning of the
    reply are raised by `chunks`.
    """
    started: asyncio.Future[ForwardedReply] = asyncio.get_running_loop().create_future()
    unread: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: the task has ended
    unread_bytes = 0
    has_room = asyncio.Event()
    has_room.set()

    async def read() -> None:
        nonlocal unread_bytes
        async with opening as reply:
            started.set_result(reply)
            async for chunk in reply.chunks:
                unread.put_nowait(chunk)
                unread_bytes += len(chunk)
                if unread_bytes >= _MAX_UNREAD_BYTES:
                    has_room.clear()
                    await has_room.wait()

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal unread_bytes
        while (chunk := await unread.get()) is not None:
            unread_bytes -= len(chunk)
            has_room.set()
            yield chunk
        await task  # raises its error

    task = asyncio.create_task(read(), name="forwarded reply")
    task.add_done_callback(lambda _: unread.put_nowait(None))
    try:
        futures: set[asyncio.Future[Any]] = {task, started}
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            await task  # raises its error
        reply = started.result()
        yield ForwardedReply(status=reply.status, headers=reply.headers, chunks=chunks())
    finally:
        await end_tasks(task)


class _ReplyReader:
    """Reader of the counts and the end of a reply."""

    def __init__(
        self,
        request: ForwardedRequest,
        exchange: Exchange,
        idle_timeout: IdleTimeout,
        refusal_context: RefusalContext,
        *,
        is_stream: bool,
    ) -> None:
        refusal_of = partial(refusal_in_stream, context=refusal_context)
        self.end = AnswerEnd(exchange.timeouts)
        self.chunks = ChunkParser(refusal_of, lambda _: None, end=self.end)
        self._sse = SseReader()
        self._received = bytearray()  # the beginning of a reply that is no stream
        self._is_stream = is_stream
        self._is_parallel = request.is_parallel
        self._idle_timeout = idle_timeout
        self._is_readable = True  # until an error in the stream

    async def next_part(self, body: AsyncIterator[bytes]) -> bytes | None:
        """Return the next bytes; None at the end.

        Only the server knows the end of parallel answers.
        """
        if self._is_parallel or not self._is_stream:
            return await anext(body, None)
        try:
            return await self.end.next_part(body, self._idle_timeout)
        except TRANSPORT_ERRORS:
            if self.end.is_whole(is_broken=True):
                return None
            raise

    def read(self, data: bytes) -> None:
        if self._is_stream:
            self._read_events(partial(self._sse.feed, data))
        else:
            self._received += data
            del self._received[_WHOLE_BYTES:]  # a reply that is cut is no JSON: no counts

    def close(self) -> None:
        if self._is_stream:
            self._read_events(self._sse.close)
        else:
            with suppress(NotJsonError):
                self.chunks.read_chunk(decode(bytes(self._received)), bytes(self._received))
        self.chunks.close()

    def _read_events(self, events: Callable[[], Iterable[SseEvent]]) -> None:
        if not self._is_readable:
            return
        try:
            for event in events():
                self.chunks.read(event.data, event.name)
            self.chunks.post_held()
        except (ServerRejected, MalformedStreamError):
            self._is_readable = False


async def _one_chunk(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
