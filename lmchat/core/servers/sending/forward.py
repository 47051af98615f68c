"""Pass-through of a request of another program: its body as it came, the reply byte for byte.

After a reply has started, the request is not sent again. The API key is cut out of replies.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

from msgspec import Struct, field

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
from lmchat.core.servers.stream.chunk import Fault
from lmchat.core.servers.stream.chunk_parser import ChunkParser
from lmchat.core.servers.stream.end import AnswerEnd
from lmchat.core.servers.stream.timeouts import IdleTimeout
from lmchat.core.servers.wire.refusals import RefusalContext, refusal_in_stream
from lmchat.core.sessions.message import AnswerState, AnswerStats

_WHOLE_BYTES = 1024 * 1024  # longer replies are not searched for counts; embeddings are long
_MAX_UNREAD_BYTES = 64 * 1024 * 1024  # of a reply that is taken slower than it arrives
# for a model that is listed, but not loaded
_UNLOADED_KINDS = ("model_not_loaded", "model_missing")
_Head = tuple[int, Mapping[str, str]]  # status and headers
_logger = logging.getLogger(__name__)


class Forwarding(Struct, kw_only=True):
    """Request of another program, from the first attempt to the end of its reply."""

    request: ForwardedRequest
    exchange: Exchange
    load_model: Callable[[], Awaitable[None]]  # raises `LMChatError` if the server cannot
    on_end: Callable[[AnswerState, AnswerStats], None]
    _has_tried_load: bool = False
    _refused: tuple[_Head, bytes] = ((0, {}), b"")  # the last refusal, as it came
    _reader: _ReplyReader | None = None  # None until a reply has started
    _started: asyncio.Future[_Head] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    _unread: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    """Parts that have not been taken; None: the task has ended."""
    _unread_bytes: int = 0
    _has_room: asyncio.Event = field(default_factory=asyncio.Event)
    # values of `perf_counter`:
    _started_s: float = field(default_factory=time.perf_counter)
    _sent_s: float = 0.0  # of the last attempt
    _first_byte_s: float | None = None

    @asynccontextmanager
    async def reply(self, slot: AbstractAsyncContextManager[None]) -> AsyncIterator[ForwardedReply]:
        """Yield the reply, also a refusal, once it has started; leaving the block ends it.

        A task with the `slot` reads it: a program that stops reading must not hold that. At most
        `_MAX_UNREAD_BYTES` are read before they are taken. Raises `ServerUnavailable` if the server
        does not answer. Later errors are raised by `chunks`: also `StreamInterrupted`, if the reply
        has stopped for too long.
        """
        task = asyncio.create_task(self._run(slot), name="forwarded reply")
        task.add_done_callback(lambda _: self._unread.put_nowait(None))

        async def chunks() -> AsyncGenerator[bytes, None]:
            while (chunk := await self._unread.get()) is not None:
                self._unread_bytes -= len(chunk)
                self._has_room.set()
                if chunk:
                    yield chunk
            await task  # raises its error

        try:
            futures: set[asyncio.Future[Any]] = {task, self._started}
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            if not self._started.done():
                await task  # raises its error
            status, headers = self._started.result()
            yield ForwardedReply(status=status, headers=headers, chunks=chunks())
        finally:
            await end_tasks(task)

    async def _run(self, slot: AbstractAsyncContextManager[None]) -> None:
        counters = self.exchange.access.counters
        state = AnswerState.FAILED  # also after a refusal and an unexpected error
        async with slot:
            counters.add(total_requests=1)
            try:
                await self.exchange.attempts(self._send, self._try_to_load)
                state = AnswerState.COMPLETE
            except ServerRejected:
                head, body = self._refused
                self._started.set_result(head)
                self._unread.put_nowait(body)
            except asyncio.CancelledError:
                state = AnswerState.STOPPED
                raise
            except LMChatError as error:
                if self._started.done():
                    state = AnswerState.INTERRUPTED
                _logger.info("forwarded request: %s", error.kind)
                raise
            finally:
                stats = self._stats()
                has_failed = self._reader is not None and self._reader.end.fault is Fault.FAILURE
                if has_failed and state is AnswerState.COMPLETE:
                    state = AnswerState.INTERRUPTED
                counters.add_end(state, stats.elapsed_ms)
                self.on_end(state, stats)

    async def _send(self, idle_timeout: IdleTimeout) -> None:
        """Pass the reply on to its end; raise the error of a refusal."""
        exchange = self.exchange
        self._sent_s = time.perf_counter()
        context = exchange.refusal_context(self.request.body)
        async with exchange.response(
            self.request.path, self.request.body, idle_timeout
        ) as response:
            headers = {
                name.lower(): without_secret(value, *context.secrets)
                for name, value in response.headers.items()
            }
            head = response.status_code, headers
            if not response.is_success:
                body, error = await exchange.read_refusal(response, context)
                said = body.decode(errors="surrogateescape")
                told = without_secret(said, *context.secrets).encode(errors="surrogateescape")
                self._refused = head, told
                raise error
            exchange.has_token = True
            self._reader = _ReplyReader(
                self.request,
                exchange,
                context,
                is_stream=headers.get("content-type", "").lower().startswith("text/event-stream"),
            )
            self._started.set_result(head)
            await self._pass_on(body_chunks(response), idle_timeout, self._reader)

    async def _pass_on(
        self, body: AsyncIterator[bytes], idle_timeout: IdleTimeout, reader: _ReplyReader
    ) -> None:
        """Cut the API key out; bytes with which it may start wait for the next ones."""
        key = self.exchange.key.encode()
        held = b""
        try:
            with errors_as_unavailable(self.exchange.target.endpoint):
                while (chunk := await reader.next_part(body, idle_timeout)) is not None:
                    if self._first_byte_s is None:
                        self._first_byte_s = time.perf_counter()
                    reader.read(chunk)
                    # for any kind of reply, any byte counts as the first token
                    idle_timeout.note_data(has_token=True)
                    ready = held + chunk
                    if key:
                        ready = ready.replace(key, "…".encode())
                    starts = (size for size in range(1, len(key)) if ready.endswith(key[:size]))
                    end = len(ready) - max(starts, default=0)
                    held = ready[end:]
                    await self._put(ready[:end], idle_timeout)
        finally:
            self._unread.put_nowait(held)

    async def _put(self, ready: bytes, idle_timeout: IdleTimeout) -> None:
        """Count no silence while too much waits to be taken."""
        self._unread.put_nowait(ready)
        self._unread_bytes += len(ready)
        if self._unread_bytes >= _MAX_UNREAD_BYTES:
            self._has_room.clear()
            with idle_timeout.paused():
                await self._has_room.wait()

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


class _ReplyReader:
    """Reader of the counts and the end of a reply."""

    def __init__(
        self,
        request: ForwardedRequest,
        exchange: Exchange,
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
        self._is_readable = True  # until an error in the stream

    async def next_part(
        self, body: AsyncIterator[bytes], idle_timeout: IdleTimeout
    ) -> bytes | None:
        """Return the next bytes; None at the end.

        Only the server knows the end of parallel answers.
        """
        if self._is_parallel or not self._is_stream:
            return await anext(body, None)
        try:
            return await self.end.next_part(body, idle_timeout)
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
