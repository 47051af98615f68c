"""One streamed answer: bytes of the response to events, in every shape that servers are known to send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from lmchat.domain.event import (
    LifeSign,
    ModelNamed,
    PromptProgress,
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    StreamEvent,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from lmchat.errors import ServerRejected, StreamInterrupted
from lmchat.proxy.errors import TRANSPORT_ERRORS, error_words
from lmchat.proxy.http import read_up_to
from lmchat.proxy.json_values import (
    NotJsonError,
    amount,
    decode,
    encode,
    mapping,
    rows,
    text,
    whole,
)
from lmchat.proxy.refusals import Asked, is_error, not_an_llm, refusal
from lmchat.proxy.sse import DONE, MalformedStreamError, SseEvent, SseReader
from lmchat.proxy.think import Piece, ThinkSplitter
from lmchat.proxy.timeouts import IdleTimeout

EventQueue = asyncio.Queue[StreamEvent | None]  # events of one answer; None behind the last
MAX_WAITING = 256  # events that may wait before the reader of the network waits too (backpressure)
MAX_WHOLE_BYTES = 1 << 20
DRAIN_S = (
    0.05  # wait for the end of a body behind `[DONE]`, so that the connection can be used again
)
_STREAM_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")
_LEAD = b"\xef\xbb\xbf\r\n "


@dataclass(kw_only=True)
class AnswerReader:
    """Reads one response; its events go into a queue."""

    response: httpx.Response
    asked: Asked
    events: EventQueue
    patience: IdleTimeout
    chunks: ChunkReader
    _sse: SseReader = field(default_factory=SseReader)

    async def read(self) -> StreamFinished:
        """Read to the end; raises `LMChatError` where the answer is not complete."""
        kind = self.response.headers.get("content-type", "").lower()
        try:
            if kind.startswith("text/event-stream"):
                cut = await self._stream()
            else:
                cut = await self._whole()
        except MalformedStreamError as error:
            raise StreamInterrupted(
                f"Streaming failed: malformed stream, {error}.",
                hint="The text so far is kept; check the server's log.",
            ) from error
        finally:
            self.chunks.close()
        return self.chunks.conclude(cut)

    async def _stream(self) -> str:
        """Read a stream; return how the transport broke, if it did."""
        try:
            body = self.response.aiter_bytes()
            async for chunk in body:
                self._take(self._sse.feed(chunk))
                self.patience.heard(has_token=self.chunks.has_token)
                if self.events.qsize() > MAX_WAITING:
                    await self.events.join()
                    self.patience.heard(has_token=self.chunks.has_token)
                if self.chunks.has_done:
                    await _drain(body)
                    return ""
            self._take(self._sse.close())
        except TRANSPORT_ERRORS as error:
            return error_words(error)
        return ""

    def _take(self, events: Sequence[SseEvent]) -> None:
        for event in events:
            if not event.data:
                self.events.put_nowait(LifeSign())
            elif event.name:
                self.chunks.read(event.data[0], event.name)
            else:
                self.chunks.read_run(event.data)

    async def _whole(self) -> str:
        """Take a reply that is declared as no stream (R-23); every official reader is silent here."""
        try:
            body = await read_up_to(self.response, MAX_WHOLE_BYTES)
        except TRANSPORT_ERRORS as cut:
            return error_words(cut)
        if body.lstrip(_LEAD).startswith(_STREAM_BEGINNINGS):
            self._take(self._sse.feed(body))
            self._take(self._sse.close())
            return ""
        try:
            value = decode(body)
        except NotJsonError:
            value = None
        if is_error(value) or not mapping(value).get("choices"):
            error = refusal(self.response.status_code, self.response.headers, body, self.asked)
            if is_error(value) or error.kind == "not_an_llm":
                raise error
            raise not_an_llm("the reply is not a model's answer.", error.details)
        self.chunks.read_object(value)
        self.chunks.has_done = True
        return ""


async def joined_events(events: EventQueue) -> AsyncIterator[StreamEvent]:
    """Yield events until None; text that has arrived together goes on as one event."""
    while True:
        arrived = [await events.get()]
        while not events.empty():
            arrived.append(events.get_nowait())
        for event in _join_text(arrived):
            if event is None:
                return
            yield event
        for _ in arrived:
            events.task_done()


def _join_text(events: Iterable[StreamEvent | None]) -> list[StreamEvent | None]:
    joined: list[StreamEvent | None] = [None]
    for event in events:
        match joined[-1], event:
            case TextDelta(text=text, pieces=count), TextDelta():
                joined[-1] = TextDelta(text=text + event.text, pieces=count + event.pieces)
            case ReasoningDelta(text=text, pieces=count), ReasoningDelta():
                joined[-1] = ReasoningDelta(text=text + event.text, pieces=count + event.pieces)
            case _:
                joined.append(event)
    return joined[1:]


async def _drain(body: AsyncIterator[bytes]) -> None:
    with suppress(TimeoutError, *TRANSPORT_ERRORS):
        async with asyncio.timeout(DRAIN_S):
            async for _ in body:
                pass


MAX_BAD_EVENTS_IN_A_ROW = 3
MAX_ANSWER_CHARS = (
    16 << 20
)  # limit for text, thought and tool calls of one answer: some days of a fast model
USAGE_EVERY_S = 1.0
_CALL_CHARS = 64  # counted for each piece of a call: some servers might send empty ones without end

Refuse = Callable[
    [object], ServerRejected
]  # makes the error out of what a server sent inside a stream


class ChunkReader:
    """Reads the chunks of one answer and remembers what its end will be judged by."""

    def __init__(
        self,
        refuse: Refuse,
        tell: Callable[[StreamEvent], None],
        *,
        splitter: ThinkSplitter | None = None,
    ) -> None:
        self.has_done = False
        self.has_token = False  # whether any text, thought or tool call came
        self.finish_reason = ""  # the server's word, empty where none came
        self._refuse = refuse
        self._tell = tell
        self._splitter = splitter
        self._figures = StreamFigures()
        self._calls = ToolCalls()
        self._is_named = False
        self._fields: list[str] = []  # thought that came in fields
        self._held: list[str] = []  # thought from between tags that may repeat that of the fields
        self._frame: Frame | None = None
        self._bad_in_a_row = 0
        self._chars = 0
        self._told = 0

    def read_run(self, payloads: Sequence[bytes]) -> None:
        """Read SSE events that have data alone; neighbours become one."""
        if self.has_done or (len(payloads) >= _ENOUGH and self._read_framed(payloads)):
            return
        self.read(payloads[0])
        if len(payloads) >= _ENOUGH:
            self._frame = frame_of(payloads[0])
            middle = (len(payloads) + 1) // 2
            for half in (payloads[1:middle], payloads[middle:]):
                self.read_run(half)
        else:
            for payload in payloads[1:]:
                self.read(payload)

    def read(self, data: bytes, name: str = "") -> None:
        """Read one SSE event, which may be named; nothing is read after `[DONE]`.

        Raises:
            ServerRejected: the server sent an error.
            MalformedStreamError: several events in a row are not JSON, or the answer has no end.
        """
        if self.has_done:
            return
        if data.startswith(DONE):
            self.has_done = True
            return
        before = self._told
        if data:
            self._payload(data, name)
        if self._told == before:
            self._post(LifeSign())

    def read_object(self, value: object) -> None:
        chunk = mapping(value)
        model = text(chunk.get("model"))
        if model and not self._is_named:
            self._is_named = True
            self._post(ModelNamed(model=model))
        self._figures.usage = mapping(chunk.get("usage")) or self._figures.usage
        timings = self._figures.time(chunk.get("timings") or chunk.get("stats"))
        for event in (*prompt_progress(chunk.get("prompt_progress")), *timings):
            self._post(event)
        for choice in rows(chunk.get("choices"))[:1]:
            if not choice.get("index"):
                self._delta(mapping(choice.get("delta") or choice.get("message")))
                self.finish_reason = text(choice.get("finish_reason")) or self.finish_reason

    def close(self) -> None:
        if self._splitter is not None:
            self._split(self._splitter.close())
            self._tell_held(is_thought=not self._splitter.is_open)
        for event in self._figures.report():
            self._post(event)

    def conclude(self, cut: str = "") -> StreamFinished:
        """Decide what the end of the stream means; `cut` says how the transport broke.

        Raises:
            StreamInterrupted: the answer is not complete.
            ServerRejected: there was none.
        """
        if not cut and (self.finish_reason or (self.has_done and self.has_token)):
            return StreamFinished(reason=self.finish_reason)
        if cut or self.has_token:
            words = "the connection broke" if cut else "the server closed the connection"
            raise StreamInterrupted(
                f"Streaming failed: {words} before the answer was complete.",
                hint="The text so far is kept; continue or regenerate it.",
                details=cut,
            )
        if self._bad_in_a_row:
            raise ServerRejected(
                "Streaming failed: the server sent no readable data.",
                kind="malformed_stream",
                hint="Check the server's log; is it an OpenAI-compatible server?",
            )
        words, hint = (
            "closed the connection without an answer",
            "Check the server's log, then try again.",
        )
        if self.has_done:
            words = "sent an empty answer"
            hint = "The session may exceed the model's context window; load the model with a larger one."
        raise ServerRejected(
            f"Streaming failed: the server {words}.", kind="empty_answer", hint=hint
        )

    def _read_framed(self, payloads: Sequence[bytes]) -> bool:
        """Read chunks that differ in their text alone; return whether they did."""
        if self._frame is None or (texts := self._frame.texts(payloads)) is None:
            return False
        self._bad_in_a_row = 0
        add, said = (
            self._thought if self._frame.is_thought else self._content,
            list(filter(None, texts)),
        )
        add("".join(said), len(said))
        return True

    def _payload(self, data: bytes, name: str) -> None:
        try:
            value = decode(data)
        except NotJsonError:
            if name == "error":
                raise self._refuse(data.decode("utf-8", "replace")) from None
            self._bad_in_a_row += 1
            if self._bad_in_a_row >= MAX_BAD_EVENTS_IN_A_ROW:
                raise MalformedStreamError("three events in a row are not JSON") from None
            return
        self._bad_in_a_row = 0
        if name == "error" or is_error(value):
            raise self._refuse(value)
        self.read_object(value)

    def _delta(self, delta: dict[str, Any]) -> None:
        told = text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
        self._thought(told or _joined(delta.get("reasoning_details")))
        content = delta.get("content")
        for part in content if isinstance(content, list) else [content]:
            fields = mapping(part)
            if fields.get("type") == "thinking":
                self._thought(_joined(fields.get("thinking")))
            else:
                self._content(text(part) or text(fields.get("text")))
        if refusal := text(delta.get("refusal")):
            self._token(RefusalDelta(text=refusal), len(refusal))
        older = delta.get(
            "function_call"
        )  # the one call that an answer could have before there were lists
        calls = delta.get("tool_calls") or (
            [{"index": 0, "function": older}] if mapping(older) else []
        )
        for call in map(self._calls.read, rows(calls)):
            size = len(call.name) + len(call.call_id) + len(call.arguments) + _CALL_CHARS
            self._token(call, size)

    def _thought(self, thought: str, count: int = 1) -> None:
        if thought:
            self._grow(len(thought))
            if self._splitter is not None and not self._fields:
                self._split(self._splitter.tell_apart())
            self._fields.append(thought)
            self._piece(thought, count, is_thought=True)

    def _content(self, content: str, count: int = 1) -> None:
        if not content:
            return
        self._grow(len(content))
        if self._splitter is None:
            self._piece(content, count, is_thought=False)
            return
        self._split(self._splitter.feed(content), count)
        if not self.has_token:
            self._post(LifeSign(is_token=True))

    def _split(self, pieces: Iterable[Piece | Rethought], count: int = 1) -> None:
        for piece in pieces:
            if isinstance(piece, Rethought):
                self._post(piece)
                continue
            is_thought, words = piece
            if is_thought and self._fields:
                self._held.append(words)
                continue
            if self._held:
                self._tell_held()
            self._piece(words, count, is_thought=is_thought)
            count = 1

    def _tell_held(self, *, is_thought: bool = True) -> None:
        """Tell what tags enclose, unless fields told it before (R-17; llama.cpp, `deepseek-legacy`).

        Without a closing tag it is no thought, but an answer about `<think>`.
        """
        held, self._held = "".join(self._held), []
        if not "".join(self._fields).strip().startswith(held.strip()):
            self._piece(held if is_thought else f"<think>{held}", is_thought=is_thought)

    def _piece(self, piece: str, count: int = 1, *, is_thought: bool) -> None:
        if piece:
            delta = ReasoningDelta if is_thought else TextDelta
            self._token(delta(text=piece, pieces=count), 0)

    def _grow(self, chars: int) -> None:
        self._chars += chars
        if self._chars > MAX_ANSWER_CHARS:
            raise MalformedStreamError("the answer is longer than 16 MiB")

    def _post(self, event: StreamEvent) -> None:
        self._told += 1
        self._tell(event)

    def _token(self, event: StreamEvent, chars: int) -> None:
        self._grow(chars)
        self.has_token = True
        self._post(event)


def _joined(parts: object) -> str:
    return text(parts) or "".join(text(part.get("text")) for part in rows(parts))


class StreamFigures:
    """Counts and speeds that the server reports while it answers, wherever it puts them (R-19)."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._reported_s = time.monotonic()

    def time(self, timings: object) -> list[StreamEvent]:
        """Take the `timings` of a chunk; return a report where one is due."""
        if not isinstance(timings, dict):
            return []
        self._timings = timings
        now_s = time.monotonic()
        if now_s - self._reported_s < USAGE_EVERY_S:
            return []
        self._reported_s = now_s
        return self.report()

    def report(self) -> list[StreamEvent]:
        usage, timings = self.usage, self._timings
        if not usage and not timings:
            return []
        cached = whole(timings.get("cache_n"))
        details = mapping(usage.get("prompt_tokens_details"))
        prompt, completion = (
            whole(usage.get("prompt_tokens")),
            whole(usage.get("completion_tokens")),
        )
        if prompt is None and "prompt_n" in timings:
            prompt = (cached or 0) + (whole(timings.get("prompt_n")) or 0)
        report = UsageReported(
            prompt_tokens=prompt,
            completion_tokens=whole(timings.get("predicted_n"))
            if completion is None
            else completion,
            cached_tokens=whole(details.get("cached_tokens")) if cached is None else cached,
            tokens_per_second=amount(timings.get("predicted_per_second"))
            or amount(timings.get("tokens_per_second")),
            prompt_tokens_per_second=amount(timings.get("prompt_per_second")),
        )
        return [report]


def prompt_progress(progress: object) -> list[StreamEvent]:
    """Return how far the server has read the prompt, without what came from its cache."""
    if not isinstance(progress, dict):
        return []
    total, cached, processed = (
        whole(progress.get(name)) or 0 for name in ("total", "cache", "processed")
    )
    share = (processed - cached) / (total - cached) if total > cached else 1.0
    fraction = min(max(share, 0.0), 1.0)
    return [PromptProgress(fraction=fraction, processed_tokens=processed, total_tokens=total)]


class _Call(Struct):
    call_id: str = ""
    name: str = ""


class ToolCalls:
    """Tool calls of an answer, as far as they are known (R-20)."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int | None, int] = {}
        self._by_id: dict[tuple[int | None, str], int] = {}

    def read(self, fragment: dict[str, Any]) -> ToolCallDelta:
        """Turn a fragment into an event, which tells only what is new."""
        call_id, function = text(fragment.get("id")), mapping(fragment.get("function"))
        name, arguments, index = (
            text(function.get("name")),
            function.get("arguments"),
            fragment.get("index"),
        )
        if isinstance(arguments, dict | list):
            arguments = encode(arguments).decode()
        place = self._place(whole(index), call_id, name)
        call = self._calls[place]
        new_id, new_name = "" if call.call_id else call_id, "" if call.name else name
        call.call_id, call.name = call.call_id or call_id, call.name or name
        return ToolCallDelta(index=place, call_id=new_id, name=new_name, arguments=text(arguments))

    def _place(self, index: int | None, call_id: str, name: str) -> int:
        """Return the number of the call, which may differ from the server's."""
        place = self._by_id.get((index, call_id))
        if place is not None:
            return place
        if index is None and not (call_id or name) and self._calls:
            return len(self._calls) - 1
        place = self._by_index.get(index)
        # a second id alone begins no call: some servers make one up for each fragment
        if place is None or (call_id and name and self._calls[place].call_id not in ("", call_id)):
            place = len(self._calls)
            self._calls.append(_Call())
        if call_id:
            self._by_id.setdefault((index, call_id), place)
            self._by_id.setdefault((None, call_id), place)
        if index is not None:
            self._by_index[index] = place
        return place


# Reading in bulk. From one chunk to the next most servers repeat all but the text. Decoded one by one in
# Python, chunks that come in large reads would take more than three times the CPU of reading them.

_ENOUGH = 8  # chunks from which on it pays to look for what they have in common
_TEXTS = msgspec.json.Decoder(list[str]).decode
_ONCE = ("tool_calls", "function_call", "refusal", "reasoning_details")
"""Fields that say more with each repetition."""


class Frame(Struct, frozen=True):
    """Bytes that chunks have in common around their text."""

    before: bytes  # a chunk up to the text, with its quotation mark
    after: bytes
    is_thought: bool

    def texts(self, payloads: Sequence[bytes]) -> list[str] | None:
        """Return the texts of chunks, None where they are not all of this frame."""
        start, end = len(self.before), -len(self.after)
        changes = [payload[start:end] for payload in payloads]
        framed = self.before + (self.after + self.before).join(changes) + self.after
        within = b"\n".join(changes)
        # an unescaped quotation mark would end the text
        if framed != b"".join(payloads) or b"\\\\" in within or b'"' in within.replace(b'\\"', b""):
            return None
        try:
            texts = _TEXTS(b'["%b"]' % within.replace(b"\n", b'","'))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return texts if len(texts) == len(changes) else None


def frame_of(payload: bytes) -> Frame | None:
    """Return the frame of a chunk that has been read, None unless it holds one text or thought alone."""
    try:
        chunk = decode(payload)
        first = rows(mapping(chunk).get("choices"))[0]
        delta = mapping(first.get("delta"))
        told = [name for name in ("content", "reasoning_content", "reasoning") if delta.get(name)]
        words = text(delta.get(told[0])) if len(told) == 1 else ""
        if not words or first.get("index") or any(delta.get(name) for name in _ONCE):
            return None
        before, _, after = payload.partition(encode(words))
        # another text put in its place must be read as that text, else it stands elsewhere
        delta[told[0]] = f"{words}?"
        if decode(before + encode(delta[told[0]]) + after) != chunk:
            return None
    except (NotJsonError, IndexError):
        return None
    return Frame(before + b'"', b'"' + after, is_thought=told[0] != "content")
