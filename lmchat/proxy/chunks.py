"""Chunks of a streamed answer as events, in every shape that servers are known to send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

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
from lmchat.proxy.json_values import NotJsonError, amount, decode, encode, mapping, rows, text, whole
from lmchat.proxy.refusals import is_error
from lmchat.proxy.sse import DONE, MalformedStreamError, SseEvent, SseRun
from lmchat.proxy.think import Piece, RetoldThought, ThinkSplitter

MAX_BAD_EVENTS_IN_A_ROW = 3
MAX_ANSWER_CHARS = 16 << 20
"""Limit for text, thought and tool calls of one answer: some days of a fast model."""
MAX_CALLS = 1000
"""Limit for tool calls of one answer."""
USAGE_EVERY_S = 1.0
_CALL_CHARS = 64
"""Size of a piece of a tool call beside its texts: a server could send empty ones without end."""

Refuse = Callable[[object], ServerRejected]
"""Makes the error out of what a server sent in the middle of a stream."""


class Ending(Struct, frozen=True, kw_only=True):
    """Everything that the end of a stream is judged by."""

    has_done: bool
    finish_reason: str
    """The server's word, empty where none came."""
    has_text: bool
    """Whether any text, thought or tool call came."""
    bad_events: int = 0
    cut: str = ""
    """How the transport broke, empty where it ended cleanly."""


def conclude(ending: Ending) -> StreamFinished:
    """Decide what the end of a stream means, whatever the server left out.

    Raises:
        StreamInterrupted: the answer is not complete.
        ServerRejected: there was none.
    """
    if not ending.cut and (ending.finish_reason or (ending.has_done and ending.has_text)):
        return StreamFinished(reason=ending.finish_reason)
    if ending.cut or ending.has_text:
        words = "the connection broke" if ending.cut else "the server closed the connection"
        raise StreamInterrupted(
            f"Streaming failed: {words} before the answer was complete.",
            hint="What had arrived is kept; continue or regenerate it.",
            details=ending.cut,
        )
    if ending.bad_events:
        raise ServerRejected(
            "Streaming failed: the server sent nothing that can be read.",
            kind="malformed_stream",
            hint="Look at the server's log; is it an OpenAI-compatible server?",
        )
    if ending.has_done:
        raise ServerRejected(
            "Streaming failed: the server sent an empty answer.",
            kind="empty_answer",
            hint="Often the conversation is longer than the model's context: load it with a larger one.",
        )
    raise ServerRejected(
        "Streaming failed: the server closed the connection without an answer.",
        kind="empty_answer",
        hint="Look at the server's log, then try again.",
    )


class ChunkReader:
    """Reads the chunks of one answer and remembers what its end will be judged by."""

    def __init__(
        self,
        refuse: Refuse,
        *,
        splitter: ThinkSplitter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.has_done = False
        self.has_token = False
        self._refuse = refuse
        self._splitter = splitter
        self._held_pieces = 0
        self._figures = StreamFigures(clock)
        self._calls = ToolCalls()
        self._finish_reason = ""
        self._is_named = False
        self._retold = RetoldThought()
        self._frame: Frame | None = None
        self._bad_events = self._bad_in_a_row = 0
        self._chars = 0

    def read_run(self, run: SseRun, out: list[StreamEvent]) -> None:
        """Append the events of a run of SSE events; what follows each other becomes one.

        Raises:
            ServerRejected, MalformedStreamError: as `read` does, behind the events of what came before.
        """
        # what names the model, mostly the first one, is not plain
        waiting = [run.data] if self._is_named else [run.data[1:], run.data[:1]]
        while waiting and not self.has_done:
            payloads = waiting.pop()
            if not payloads or self._read_plain(payloads, out):
                continue
            if len(payloads) == 1:
                self.read(SseEvent(payloads[0]), out)
            else:
                half = len(payloads) // 2
                waiting += [payloads[half:], payloads[:half]]

    def read(self, event: SseEvent, out: list[StreamEvent]) -> None:
        """Append the events of one SSE event to `out`; after `[DONE]` nothing is read any more.

        Raises:
            ServerRejected: the server sent an error.
            MalformedStreamError: several events in a row are not JSON, or the answer has no end.
        """
        if self.has_done:
            return
        if event.data.startswith(DONE):
            self.has_done = True
            return
        before = len(out)
        if event.data:
            self._payload(event, out)
        if len(out) == before:
            out.append(LifeSign())

    def read_object(self, value: object, out: list[StreamEvent]) -> None:
        """Append the events of one decoded chunk, or of a whole completion."""
        chunk = mapping(value)
        model = text(chunk.get("model"))
        if model and not self._is_named:
            self._is_named = True
            out.append(ModelNamed(model=model))
        _tell(prompt_progress(chunk.get("prompt_progress")), out)
        self._figures.use(chunk.get("usage"))
        _tell(self._figures.time(chunk.get("timings") or chunk.get("stats")), out)
        for choice in rows(chunk.get("choices"))[:1]:
            if not choice.get("index"):
                self._delta(mapping(choice.get("delta") or choice.get("message")), out)
                self._finish_reason = text(choice.get("finish_reason")) or self._finish_reason

    def close(self, out: list[StreamEvent], *, cut: str = "") -> Ending:
        """Append what was held back and return what was seen."""
        if self._splitter is not None:
            self._split(self._splitter.close(), out, 0)
            for is_thought, piece in self._retold.close(has_end=not self._splitter.is_open):
                self._piece(piece, out, is_thought=is_thought)
        _tell(self._figures.report(), out)
        return Ending(
            has_done=self.has_done,
            finish_reason=self._finish_reason,
            has_text=self.has_token,
            bad_events=self._bad_events,
            cut=cut,
        )

    def _read_plain(self, payloads: Sequence[bytes], out: list[StreamEvent]) -> bool:
        """Read chunks in bulk if all are of the usual shape, and tell whether they were."""
        told = self._framed(payloads) if len(payloads) >= _ENOUGH else None
        if told is None:
            chunks = plain_chunks(payloads, may_name=self._is_named)
            told = told_by(chunks) if chunks else None
            if told is None:
                return False
            _tell(self._figures.time(_last_timings(chunks)), out)
        before = len(out)
        self._bad_in_a_row = 0
        is_thought, texts = told
        add, joined = self._thought if is_thought else self._content, "".join(texts)
        if self._is_even(joined, is_thought=is_thought):
            add(joined, out, len(texts))
        else:
            for one in texts:
                add(one, out)
        if len(out) == before:
            out.append(LifeSign())
        return True

    def _framed(self, payloads: Sequence[bytes]) -> Told | None:
        """Read chunks that differ in their text alone; None where they differ in more."""
        texts = self._frame.texts(payloads) if self._frame else None
        if texts is None:
            self._frame = frame_of(payloads[0], may_name=self._is_named)
            texts = self._frame.texts(payloads) if self._frame else None
        return (self._frame.is_thought, list(filter(None, texts))) if self._frame and texts else None

    def _is_even(self, joined: str, *, is_thought: bool) -> bool:
        """Whether texts mean the same as one as they do one by one."""
        if self._chars + len(joined) > MAX_ANSWER_CHARS:
            return False
        return is_thought or self._splitter is None or self._splitter.is_even(joined)

    def _payload(self, event: SseEvent, out: list[StreamEvent]) -> None:
        try:
            value = decode(event.data)
        except NotJsonError:
            if event.name == "error":
                raise self._refuse(event.data.decode("utf-8", "replace")) from None
            self._bad_events += 1
            self._bad_in_a_row += 1
            if self._bad_in_a_row >= MAX_BAD_EVENTS_IN_A_ROW:
                raise MalformedStreamError("three events in a row are no JSON") from None
            return
        self._bad_in_a_row = 0
        if event.name == "error" or is_error(value):
            raise self._refuse(value)
        self.read_object(value, out)

    def _delta(self, delta: dict[str, Any], out: list[StreamEvent]) -> None:
        self._thought(_thought_in(delta), out)
        content = delta.get("content")
        for part in content if isinstance(content, list) else [content]:
            told = mapping(part)
            if told.get("type") == "thinking":
                self._thought(_joined(told.get("thinking")), out)
            else:
                self._content(text(part) or text(told.get("text")), out)
        refusal = text(delta.get("refusal"))
        if refusal:
            self._grow(len(refusal))
            self._token(RefusalDelta(text=refusal), out)
        older = delta.get("function_call")  # the one call that an answer could have before there were lists
        calls = delta.get("tool_calls") or ([{"index": 0, "function": older}] if mapping(older) else [])
        for call in self._calls.read(calls):
            self._grow(len(call.name) + len(call.call_id) + len(call.arguments) + _CALL_CHARS)
            self._token(call, out)
        if self._calls.count > MAX_CALLS:
            raise MalformedStreamError(f"the answer has more than {MAX_CALLS} tool calls")

    def _thought(self, thought: str, out: list[StreamEvent], count: int = 1) -> None:
        if thought:
            self._grow(len(thought))
            if self._splitter is not None and not self._retold.has_fields:
                self._split(self._splitter.tell_apart(), out, 0)
            self._retold.field(thought)
            self._piece(thought, out, count, is_thought=True)

    def _content(self, content: str, out: list[StreamEvent], count: int = 1) -> None:
        if not content:
            return
        self._grow(len(content))
        if self._splitter is None:
            self._piece(content, out, count, is_thought=False)
            return
        self._split(self._splitter.feed(content), out, count)
        if not self.has_token and self._held_pieces == count:
            out.append(LifeSign(is_token=True))

    def _split(self, pieces: Iterable[Piece | Rethought], out: list[StreamEvent], count: int) -> None:
        self._held_pieces += count
        for piece in pieces:
            if isinstance(piece, Rethought):
                out.append(piece)
                continue
            is_thought, words = piece
            count, self._held_pieces = self._held_pieces or 1, 0
            if is_thought:
                self._piece(self._retold.block(words), out, count, is_thought=True)
            else:
                self._piece(self._retold.end(), out, is_thought=True)
                self._piece(words, out, count, is_thought=False)

    def _piece(self, piece: str, out: list[StreamEvent], count: int = 1, *, is_thought: bool) -> None:
        if piece:
            delta = ReasoningDelta if is_thought else TextDelta
            self._token(delta(text=piece, pieces=count), out)

    def _grow(self, chars: int) -> None:
        self._chars += chars
        if self._chars > MAX_ANSWER_CHARS:
            raise MalformedStreamError("the answer is longer than 16 MiB")

    def _token(self, event: StreamEvent, out: list[StreamEvent]) -> None:
        self.has_token = True
        out.append(event)


def _tell(event: StreamEvent | None, out: list[StreamEvent]) -> None:
    if event is not None:
        out.append(event)


def _thought_in(delta: dict[str, Any]) -> str:
    told = text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
    details = None if told else delta.get("reasoning_details")
    return _joined(details) if details else told


def _joined(parts: object) -> str:
    return text(parts) or "".join(text(part.get("text")) for part in rows(parts))


class StreamFigures:
    """Counts and speeds that the server reports while it answers, wherever it puts them (R-19)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._reported_s = clock()

    def use(self, usage: object) -> None:
        if usage and isinstance(usage, dict):
            self._usage = usage

    def time(self, timings: object) -> UsageReported | None:
        """Take the `timings` of a chunk, if it has any; return a report where one is due."""
        if not isinstance(timings, dict):
            return None
        self._timings = timings
        now_s = self._clock()
        if now_s - self._reported_s < USAGE_EVERY_S:
            return None
        self._reported_s = now_s
        return self.report()

    def report(self) -> UsageReported | None:
        usage, timings = self._usage, self._timings
        if not usage and not timings:
            return None
        cached = whole(timings.get("cache_n"))
        details = mapping(usage.get("prompt_tokens_details"))
        prompt = whole(usage.get("prompt_tokens"))
        if prompt is None and "prompt_n" in timings:
            prompt = (cached or 0) + (whole(timings.get("prompt_n")) or 0)
        completion = whole(usage.get("completion_tokens"))
        speed = amount(timings.get("predicted_per_second")) or amount(timings.get("tokens_per_second"))
        return UsageReported(
            prompt_tokens=prompt,
            completion_tokens=whole(timings.get("predicted_n")) if completion is None else completion,
            cached_tokens=whole(details.get("cached_tokens")) if cached is None else cached,
            tokens_per_second=speed,
            prompt_tokens_per_second=amount(timings.get("prompt_per_second")),
        )


def prompt_progress(progress: object) -> PromptProgress | None:
    """Return how far the server has read the prompt, without what came from its cache."""
    if not isinstance(progress, dict):
        return None
    total, cached, processed = (whole(progress.get(name)) or 0 for name in ("total", "cache", "processed"))
    fraction = (processed - cached) / (total - cached) if total > cached else 1.0
    return PromptProgress(
        fraction=min(max(fraction, 0.0), 1.0), processed_tokens=processed, total_tokens=total
    )


class ToolCalls:
    """Knows which calls of an answer have got their id and name."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._by_index: dict[int, int] = {}
        self._by_id: dict[tuple[int | None, str], int] = {}
        self._seen: set[int] = set()
        self._last = self._highest = -1

    @property
    def count(self) -> int:
        return len(self._seen)

    def read(self, fragments: object) -> list[ToolCallDelta]:
        """Turn the fragments of one chunk into events; each tells only what is new."""
        return [self._read(fragment) for fragment in rows(fragments)]

    def _read(self, fragment: dict[str, Any]) -> ToolCallDelta:
        call_id, function = text(fragment.get("id")), mapping(fragment.get("function"))
        name = text(function.get("name"))
        place = self._place(whole(fragment.get("index")), call_id, name)
        arguments = function.get("arguments")
        if isinstance(arguments, dict | list):
            arguments = encode(arguments).decode()
        return ToolCallDelta(
            index=place,
            call_id=_once(self._ids, place, call_id),
            name=_once(self._names, place, name),
            arguments=text(arguments),
        )

    def _place(self, index: int | None, call_id: str, name: str) -> int:
        """Return the number of the call that a fragment belongs to, which may differ from the server's."""
        place = self._by_id.get((index, call_id)) if call_id else None
        if place is None:
            place = self._next(call_id, name) if index is None else self._indexed(index, call_id, name)
        if call_id:
            self._by_id.setdefault((index, call_id), place)
            self._by_id.setdefault((None, call_id), place)
        if index is not None:
            self._by_index[index] = place
        self._highest = max(self._highest, place)
        self._last = place
        self._seen.add(place)
        return place

    def _next(self, call_id: str, name: str) -> int:
        is_more = not call_id and not name and self._last >= 0
        return self._last if is_more else self._highest + 1

    def _indexed(self, index: int, call_id: str, name: str) -> int:
        place = self._by_index.get(index)
        if place is None:
            return self._highest + 1 if name and index in self._seen else index
        # A second id alone begins no call: some servers make one up for each fragment.
        is_other = bool(call_id and name) and self._ids.get(place, call_id) != call_id
        return self._highest + 1 if is_other else place


def _once(known: dict[int, str], index: int, value: str) -> str:
    if not value or known.get(index):
        return ""
    known[index] = value
    return value


# Reading in bulk. Nearly every chunk of a stream has one text or thought and nothing else. Decoded one by one
# in Python, chunks that come in large reads would take more than three times the CPU of reading them.

_ENOUGH = 8
"""Number of chunks from which on it pays to look for what they have in common."""
_Nothing = Annotated[list[Raw], Meta(max_length=0)] | Literal[""] | None
Told = tuple[bool, list[str]]
"""Whether it is thought, and the texts, none of them empty."""


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
    """A chunk that holds no more than text or thought, and timings; the decoder refuses any other."""

    choices: tuple[_Choice]
    timings: Raw = Raw()
    object: Literal["chat.completion.chunk", "chat.completion", ""] | None = None
    usage: None = None
    error: None = None
    error_message: None = None
    prompt_progress: None = None
    stats: None = None


class _NamelessChunk(PlainChunk, gc=False):
    model: _Nothing = None


_NAMED = msgspec.json.Decoder(list[PlainChunk]).decode
_NAMELESS = msgspec.json.Decoder(list[_NamelessChunk]).decode
_TEXTS = msgspec.json.Decoder(list[str]).decode
_NOT_PLAIN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def plain_chunks(payloads: Sequence[bytes], *, may_name: bool) -> Sequence[PlainChunk]:
    """Decode chunks if all are plain; `may_name` allows them to name their model, which counts once."""
    try:
        chunks = (_NAMED if may_name else _NAMELESS)(b"[" + b",".join(payloads) + b"]")
    except _NOT_PLAIN:
        return ()
    return chunks if len(chunks) == len(payloads) else ()


def told_by(chunks: Sequence[PlainChunk]) -> Told | None:
    """Return the texts of chunks; None where some hold thought and some text."""
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thoughts = [delta.reasoning_content or delta.reasoning for delta in deltas]
    contents = [delta.content for delta in deltas]
    if any(thoughts) and any(contents):
        return None
    return any(thoughts), list(filter(None, thoughts if any(thoughts) else contents))


def _last_timings(chunks: Sequence[PlainChunk]) -> dict[str, Any] | None:
    for chunk in reversed(chunks):
        try:
            value = mapping(decode(bytes(chunk.timings))) if chunk.timings else {}
        except NotJsonError:
            continue
        if value:
            return value
    return None


class Frame(Struct, frozen=True):
    """Bytes that chunks have in common around their text."""

    before: bytes
    """A chunk up to the text, with its quotation mark."""
    after: bytes
    is_thought: bool

    def texts(self, payloads: Sequence[bytes]) -> list[str] | None:
        """Return the texts of chunks, None where they are not all of this frame."""
        start, end = len(self.before), -len(self.after)
        changes = [payload[start:end] for payload in payloads]
        framed = self.before + (self.after + self.before).join(changes) + self.after
        if framed != b"".join(payloads):
            return None
        # an unescaped quotation mark would end the text
        within = b"\n".join(changes)
        if b"\\\\" in within:
            return None
        within = within.replace(b'\\"', b"\\u0022")
        if b'"' in within:
            return None
        try:
            texts = _TEXTS(b'["%b"]' % within.replace(b"\n", b'","'))
        except _NOT_PLAIN:
            return None
        return texts if len(texts) == len(changes) else None


def frame_of(payload: bytes, *, may_name: bool) -> Frame | None:
    """Return the frame of a plain chunk, None where it cannot be told.

    Another text put in its place must be read as that text, else it stands elsewhere.
    """
    told = _only_text(payload, may_name=may_name)
    if told is None:
        return None
    is_thought, words = told
    before, _, after = payload.partition(encode(words))
    other = words + "?"
    if _only_text(before + encode(other) + after, may_name=may_name) != (is_thought, other):
        return None
    return Frame(before + b'"', b'"' + after, is_thought)


def _only_text(payload: bytes, *, may_name: bool) -> tuple[bool, str] | None:
    """Return the text of a plain chunk without timings, and whether it is thought."""
    chunks = plain_chunks([payload], may_name=may_name)
    told = told_by(chunks) if chunks and not chunks[0].timings else None
    return (told[0], told[1][0]) if told and told[1] else None
