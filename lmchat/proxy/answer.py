"""Reads one successful reply to a chat request: a stream, a whole answer, or something else entirely."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

import httpx
from msgspec.structs import replace

from lmchat.domain.event import LifeSign, StreamEvent, StreamFinished
from lmchat.errors import LMChatError, ServerRejected, StreamInterrupted
from lmchat.proxy.body import pieces_of
from lmchat.proxy.channel import Channel
from lmchat.proxy.chunks import ChunkReader
from lmchat.proxy.error_bodies import is_error
from lmchat.proxy.gathering import call_before_reads, gather
from lmchat.proxy.json_values import NotJsonError, decode, mapping
from lmchat.proxy.outcome import Ending, conclude
from lmchat.proxy.patience import Patience
from lmchat.proxy.refusals import Asked, refusal, refusal_in_stream
from lmchat.proxy.sse import DONE, MalformedStreamError, SseEvent, SseReader, SseRun
from lmchat.proxy.think import ThinkSplitter
from lmchat.proxy.unreachable import TRANSPORT_ERRORS

MAX_WHOLE_BYTES = 1 << 20
DRAIN_S = 0.05
"""How long to wait for the end of a body behind `[DONE]`, so that the connection can be used again."""
_COMPLETION = re.compile(rb'\s*\{[^\0]{0,4096}"(?:choices|chat\.completion)"')
"""How a whole answer begins."""
_MOST_BYTES = 64 << 10
"""So much may come together before it is read: no more than a read of the network."""
_STREAM_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")
_ENOUGH = len(b"event:")
_LEAD = b"\xef\xbb\xbf\r\n "


class _OverError(Exception):
    """The end mark has come, and no byte behind it is to be waited for."""


class Answer:
    """The answer in one response; events go into the channel, its end is returned or raised."""

    def __init__(
        self,
        response: httpx.Response,
        asked: Asked,
        channel: Channel,
        patience: Patience,
        *,
        splitter: ThinkSplitter | None = None,
        gather_s: float = 0.0,
    ) -> None:
        self._response = response
        self._gather_s = gather_s
        self._asked = asked
        self._channel = channel
        self._patience = patience
        self._sse = SseReader()
        self._came: list[bytes] = []
        self._came_bytes = 0
        self._chunks = ChunkReader(lambda value: refusal_in_stream(value, asked), splitter=splitter)

    @property
    def has_token(self) -> bool:
        """Whether anything of the answer has been handed on."""
        return self._chunks.has_token

    async def read(self) -> StreamFinished:
        """Read to the end.

        Raises:
            LMChatError: the answer is not complete.
        """
        body = pieces_of(self._response)
        kind = self._response.headers.get("content-type", "").lower()
        try:
            if kind.startswith("text/event-stream"):
                return await self._stream(body)
            head = await self._head(body)
            if head.lstrip(_LEAD).startswith(_STREAM_BEGINNINGS):
                return await self._stream(body, head)
            return await self._whole(await self._rest(head, body))
        except MalformedStreamError as error:
            self._flush()
            raise StreamInterrupted(
                f"Streaming failed: malformed stream, {error}.",
                hint="What had arrived is kept; look at the server's log.",
            ) from error
        except (LMChatError, asyncio.CancelledError):
            self._flush()
            raise

    async def _stream(self, body: AsyncIterator[bytes], head: bytes = b"") -> StreamFinished:
        cut = ""
        try:
            await self._read_body(body, head)
        except TRANSPORT_ERRORS as error:
            cut = f"{type(error).__name__}: {error}"
            await self._read_what_came()
        except _OverError:
            pass
        finally:
            self._let_go()
        ending = self._flush(cut=cut)
        self._raise_stray(ending)
        return conclude(ending)

    async def _read_body(self, body: AsyncIterator[bytes], head: bytes) -> None:
        self._take(self._sse.take(head))
        is_called = call_before_reads(self._response, self._before_read)
        async for chunk in body:
            self._came.append(chunk)
            self._came_bytes += len(chunk)
            if not is_called or self._came_bytes >= _MOST_BYTES or DONE in chunk:
                await self._read_what_came()
            if self._chunks.has_done:
                self._let_go()
                await _drain(body)
                return
        await self._read_what_came()
        self._take(self._sse.close())

    async def _before_read(self) -> None:
        await self._read_what_came()
        if self._chunks.has_done:  # its mark was cut in two; the connection is given up for it
            raise _OverError

    async def _read_what_came(self) -> None:
        if not self._came:
            return
        came = b"".join(self._came)
        self._came, self._came_bytes = [], 0
        self._take(self._sse.take(came))
        self._patience.heard(has_token=self.has_token)
        if self._channel.is_full:
            await self._channel.wait_for_room()
            self._patience.heard(has_token=self.has_token)
        if self.has_token and self._gather_s:
            gather(self._response, self._gather_s)
            self._gather_s = 0.0

    def _let_go(self) -> None:
        """Leave the connection as it was: another request may be sent over it."""
        gather(self._response, 0.0)
        call_before_reads(self._response, None)

    def _take(self, events: Sequence[SseEvent | SseRun]) -> None:
        out: list[StreamEvent] = []
        try:
            for event in events:
                if not isinstance(event, SseEvent):
                    self._chunks.read_run(event, out)
                elif event.is_comment:
                    out.append(LifeSign())
                else:
                    self._chunks.read(event, out)
        finally:
            # also where an event is an error: what came before it is kept
            self._channel.post(*out)

    async def _head(self, body: AsyncIterator[bytes]) -> bytes:
        """Read until it can be told what this is: some servers stream under another content type."""
        head, size = b"", 0
        try:
            async for chunk in body:
                self._patience.heard(has_token=False)
                size += len(chunk)
                head = head.lstrip(_LEAD) + chunk
                if len(head.lstrip(_LEAD)) >= _ENOUGH or size > MAX_WHOLE_BYTES:
                    break
        except TRANSPORT_ERRORS as error:
            raise self._cut(error) from error
        return head

    async def _rest(self, head: bytes, body: AsyncIterator[bytes]) -> bytes:
        content = bytearray(head)
        try:
            async for chunk in body:
                self._patience.heard(has_token=False)
                content += chunk
                if len(content) > MAX_WHOLE_BYTES:
                    break
        except TRANSPORT_ERRORS as error:
            raise self._cut(error) from error
        return bytes(content)

    async def _whole(self, body: bytes) -> StreamFinished:
        """Take a reply that is not a stream; every official reader is silent here (R-23)."""
        try:
            value = decode(body)
        except NotJsonError:
            value = None
        if is_error(value) or not mapping(value).get("choices"):
            raise self._refused(body, has_words=is_error(value))
        out: list[StreamEvent] = []
        self._chunks.read_object(value, out)
        self._channel.post(*out)
        return conclude(replace(self._flush(), has_done=True))

    def _refused(self, body: bytes, *, has_words: bool) -> ServerRejected:
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        error = refusal(self._response.status_code, headers, body, self._asked)
        if has_words or error.kind == "not_an_llm":
            return error
        if len(body) > MAX_WHOLE_BYTES and _COMPLETION.match(body):
            return ServerRejected(
                "Streaming failed: the server sent its whole answer in one piece of more than 1 MiB.",
                kind="malformed_stream",
                hint="Let it stream, or ask for a shorter answer.",
            )
        return ServerRejected(
            "This is not an LLM API: the reply is no answer of a model.",
            kind="not_an_llm",
            hint="Check the port and the path of the address.",
            details=error.details,
        )

    def _raise_stray(self, ending: Ending) -> None:
        """Raise an error that came without the frame of an event."""
        if ending.has_text or not self._sse.stray:
            return
        try:
            value = decode(self._sse.stray)
        except NotJsonError:
            return
        if is_error(value):
            raise refusal_in_stream(value, self._asked)

    def _flush(self, *, cut: str = "") -> Ending:
        out: list[StreamEvent] = []
        ending = self._chunks.close(out, cut=cut)
        self._channel.post(*out)
        return ending

    def _cut(self, error: BaseException) -> StreamInterrupted:
        return StreamInterrupted(
            "Streaming failed: the connection broke before the answer was complete.",
            hint="Try again; look at the server's log if it stays so.",
            details=f"{type(error).__name__}: {error}",
        )


async def _drain(body: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in body:
                pass
    except (TimeoutError, *TRANSPORT_ERRORS):
        pass
