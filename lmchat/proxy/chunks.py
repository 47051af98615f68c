"""Chunks of a streamed answer as events: tolerant of every shape that servers are known to send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder

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

USAGE_EVERY_S = 1.0


class Figures:
    """Keeps what was told last, and knows when it is time to hand it on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._reported_s = clock()

    def use(self, usage: object) -> None:
        """Take the `usage` of a chunk, if it is any."""
        if usage and isinstance(usage, dict):
            self._usage = usage

    def time(self, timings: object) -> UsageReported | None:
        """Take the `timings` of a chunk, if they are any; return a report where one is due."""
        if not isinstance(timings, dict):
            return None
        self._timings = timings
        now_s = self._clock()
        if now_s - self._reported_s < USAGE_EVERY_S:
            return None
        self._reported_s = now_s
        return self.report()

    def report(self) -> UsageReported | None:
        """Return what is known, None where nothing is."""
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
        """How many calls there are so far."""
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


_Nothing = Annotated[list[Raw], Meta(max_length=0)] | Literal[""] | None


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
    """A chunk that tells no more than text or thought, and how long things took."""

    choices: tuple[_Choice]
    """Exactly one."""
    timings: Raw = Raw()
    """As it came; only the last of many is looked at."""
    object: Literal["chat.completion.chunk", "chat.completion", ""] | None = None
    """Neither of them is an error."""
    usage: None = None
    """Is for the tolerant reader, as all that follows."""
    error: None = None
    error_message: None = None
    prompt_progress: None = None
    stats: None = None


class _NamelessChunk(PlainChunk, gc=False):
    model: _Nothing = None


_NAMED = msgspec.json.Decoder(PlainChunk).decode
_NAMELESS = msgspec.json.Decoder(_NamelessChunk).decode


def leading(payloads: Iterator[bytes], *, may_name: bool) -> tuple[list[PlainChunk], bytes | None]:
    """Take plain chunks until one is not plain; return them, and that one, None at the end.

    `may_name` allows them to name their model, which is of interest once.
    """
    decode_chunk = _NAMED if may_name else _NAMELESS
    chunks: list[PlainChunk] = []
    payload = b""
    try:
        for payload in payloads:
            chunks.append(decode_chunk(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return chunks, payload
    return chunks, None


def told_by(chunks: list[PlainChunk]) -> list[tuple[bool, list[str]]]:
    """Return what chunks tell as (is thought, texts), neighbours of one kind together, no text empty."""
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thoughts = [delta.reasoning_content or delta.reasoning for delta in deltas]
    contents = [delta.content for delta in deltas]
    if any(thoughts) and any(contents):
        return _in_turn(thoughts, contents)
    texts = list(filter(None, thoughts if any(thoughts) else contents))
    return [(any(thoughts), texts)] if texts else []


def last_timings(chunks: list[PlainChunk]) -> dict[str, Any] | None:
    """Return the newest timings that chunks tell, None where none does."""
    for chunk in reversed(chunks):
        if chunk.timings:
            value = _decoded(chunk.timings)
            if value and isinstance(value, dict):
                return value
    return None


def _decoded(raw: Raw) -> Any:
    try:
        return decode(bytes(raw))
    except NotJsonError:
        return None


def _in_turn(thoughts: list[str | None], contents: list[str | None]) -> list[tuple[bool, list[str]]]:
    told: list[tuple[bool, list[str]]] = []
    for thought, content in zip(thoughts, contents, strict=True):
        for is_thought, words in ((True, thought), (False, content)):
            if words and told and told[-1][0] is is_thought:
                told[-1][1].append(words)
            elif words:
                told.append((is_thought, [words]))
    return told


_each_text = Decoder(list[str]).decode
_QUOTE = b'"'
_ENOUGH = 8
"""Chunks that came together, from which on it pays to look for what they have in common."""


class Series:
    """Knows what the chunks of an answer have in common, as long as they have it."""

    def __init__(self) -> None:
        self._frame: Frame | None = None

    def told_by(self, payloads: Sequence[bytes], *, may_name: bool) -> list[tuple[bool, list[str]]]:
        """Return what chunks tell, as `told_by` of plain chunks does; nothing where they differ in more."""
        if len(payloads) < _ENOUGH:
            return []
        texts = self._frame.texts(payloads) if self._frame is not None else None
        if texts is None:
            self._frame = frame_of(payloads[0], may_name=may_name)
            texts = self._frame.texts(payloads) if self._frame is not None else None
        if texts is None or self._frame is None:
            return []
        return [(self._frame.is_thought, list(filter(None, texts)))]


class Frame(Struct, frozen=True):
    """What such chunks have in common."""

    before: bytes
    """A chunk up to the text, with its quotation mark."""
    after: bytes
    """What follows the text."""
    is_thought: bool
    """Whether it is thought."""

    def texts(self, payloads: Sequence[bytes]) -> list[str] | None:
        """Return the texts of chunks, None where they are not all of this frame."""
        start, end = len(self.before), -len(self.after)
        changes = [payload[start:end] for payload in payloads]
        framed = self.before + (self.after + self.before).join(changes) + self.after
        return _texts(changes) if framed == b"".join(payloads) else None


def frame_of(payload: bytes, *, may_name: bool) -> Frame | None:
    """Return the frame of a plain chunk, None where it cannot be told.

    Another text put in its place must be read as that text, else it stands elsewhere.
    """
    told = _told(payload, may_name=may_name)
    if told is None:
        return None
    is_thought, text = told
    before, _, after = payload.partition(encode(text))
    other = text + "?"
    if _told(before + encode(other) + after, may_name=may_name) != (is_thought, other):
        return None
    return Frame(before + _QUOTE, _QUOTE + after, is_thought)


def _told(payload: bytes, *, may_name: bool) -> tuple[bool, str] | None:
    """Return the one text of a plain chunk that tells no figures, as (is thought, text)."""
    chunks, _ = leading(iter([payload]), may_name=may_name)
    if not chunks or chunks[0].timings:
        return None
    told = told_by(chunks)
    return (told[0][0], told[0][1][0]) if len(told) == 1 else None


def _texts(changes: list[bytes]) -> list[str] | None:
    """Return what stands between quotation marks as texts; None where one of them is no text.

    Without a quotation mark within, as many texts as there are pieces can only be these pieces.
    """
    within = b"\n".join(changes)
    if _QUOTE in within:
        if b"\\\\" in within:
            return None
        within = within.replace(b'\\"', b"\\u0022")
    if _QUOTE in within:
        return None
    try:
        texts = _each_text(b'["%b"]' % within.replace(b"\n", b'","'))
    except (DecodeError, UnicodeDecodeError):
        return None
    return texts if len(texts) == len(changes) else None


MAX_BAD_EVENTS_IN_A_ROW = 3
MAX_ANSWER_CHARS = 16 << 20
"""Text, thought and tool calls of one answer: some days of a fast model, and little enough for the memory."""
MAX_CALLS = 1000
"""Tool calls of one answer."""
_CALL_CHARS = 64
"""What a piece of a tool call counts beside its texts: a server could send empty ones without end."""

Refuse = Callable[[object], ServerRejected]
"""Makes the error out of what a server sent in the middle of a stream."""


_KEPT = "What had arrived is kept; continue or regenerate it."


class Ending(Struct, frozen=True, kw_only=True):
    """What was seen of a stream when its bytes ended."""

    has_done: bool
    """Whether `[DONE]` came."""
    finish_reason: str
    """The server's word, empty where none came."""
    has_text: bool
    """Whether any text, thought or tool call came."""
    bad_events: int = 0
    """Events that were no JSON."""
    cut: str = ""
    """How the transport broke, empty where it ended cleanly."""


def conclude(ending: Ending) -> StreamFinished:
    """Decide what the end means.

    Raises:
        StreamInterrupted: the answer is not complete.
        ServerRejected: there was none.
    """
    if not ending.cut and (ending.finish_reason or (ending.has_done and ending.has_text)):
        return StreamFinished(reason=ending.finish_reason)
    if ending.cut or ending.has_text:
        words = "the connection broke" if ending.cut else "the server closed the connection"
        raise StreamInterrupted(
            f"Streaming failed: {words} before the answer was complete.", hint=_KEPT, details=ending.cut
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
        self._figures = Figures(clock)
        self._calls = ToolCalls()
        self._finish_reason = ""
        self._is_named = False
        self._retold = RetoldThought()
        self._series = Series()
        self._bad_events = self._bad_in_a_row = 0
        self._chars = 0

    def read_run(self, run: SseRun, out: list[StreamEvent]) -> None:
        """Append the events of a run of SSE events; what follows each other becomes one.

        Raises:
            ServerRejected, MalformedStreamError: as `read` does, behind the events of what came before.
        """
        if self.has_done:
            return
        told = self._series.told_by(run.data, may_name=self._is_named)
        if told:
            self._take(told, out)
            return
        payloads = iter(run.data)
        while not self.has_done:
            odd = self._plain(payloads, out)
            if odd is None:
                return
            self.read(SseEvent(odd), out)

    def read(self, event: SseEvent, out: list[StreamEvent]) -> None:
        """Append the events of one SSE event to `out`; after `[DONE]` nothing is read any more.

        Raises:
            ServerRejected: the server sent an error.
            MalformedStreamError: one event after the other is no JSON, or the answer has no end.
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
        self._named(text(chunk.get("model")), out)
        self._tell(prompt_progress(chunk.get("prompt_progress")), out)
        self._figures.use(chunk.get("usage"))
        self._tell(self._figures.time(chunk.get("timings") or chunk.get("stats")), out)
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
        self._tell(self._figures.report(), out)
        return Ending(
            has_done=self.has_done,
            finish_reason=self._finish_reason,
            has_text=self.has_token,
            bad_events=self._bad_events,
            cut=cut,
        )

    def _plain(self, payloads: Iterator[bytes], out: list[StreamEvent]) -> bytes | None:
        """Read the plain chunks that come first, and return the one behind them, None at the end."""
        chunks, odd = leading(payloads, may_name=self._is_named)
        if not chunks:
            return odd
        self._tell(self._figures.time(last_timings(chunks)), out)
        self._take(told_by(chunks), out)
        return odd

    def _take(self, told: Iterable[tuple[bool, list[str]]], out: list[StreamEvent]) -> None:
        """Take what plain chunks told as (is thought, texts)."""
        before = len(out)
        self._bad_in_a_row = 0
        for is_thought, texts in told:
            add = self._thought if is_thought else self._content
            joined = "".join(texts)
            if self._is_even(joined, is_thought=is_thought):
                add(joined, out, len(texts))
            else:
                for one in texts:
                    add(one, out)
        if len(out) == before:
            out.append(LifeSign())

    def _is_even(self, joined: str, *, is_thought: bool) -> bool:
        """Whether texts mean the same as one as they do one by one."""
        if self._chars + len(joined) > MAX_ANSWER_CHARS:
            return False
        if is_thought:
            return not self._retold.has_tagged
        return self._splitter is None or self._splitter.is_even(joined)

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

    def _named(self, model: str, out: list[StreamEvent]) -> None:
        if model and not self._is_named:
            self._is_named = True
            out.append(ModelNamed(model=model))

    def _tell(self, event: StreamEvent | None, out: list[StreamEvent]) -> None:
        if event is not None:
            out.append(event)

    def _delta(self, delta: dict[str, Any], out: list[StreamEvent]) -> None:
        self._thought(_thought(delta), out)
        content = delta.get("content")
        if isinstance(content, str):
            self._content(content, out)
        elif content:
            self._parts(content, out)
        refusal = text(delta.get("refusal"))
        if refusal:
            self._grow(len(refusal))
            self._token(RefusalDelta(text=refusal), out)
        calls = delta.get("tool_calls") or _older_calls(delta.get("function_call"))
        if calls:
            self._call(calls, out)

    def _call(self, fragments: object, out: list[StreamEvent]) -> None:
        for call in self._calls.read(fragments):
            self._grow(len(call.name) + len(call.call_id) + len(call.arguments) + _CALL_CHARS)
            self._token(call, out)
        if self._calls.count > MAX_CALLS:
            raise MalformedStreamError(f"the answer has more than {MAX_CALLS} tool calls")

    def _parts(self, parts: object, out: list[StreamEvent]) -> None:
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, str):
                self._content(part, out)
            elif not isinstance(part, dict):
                continue
            elif part.get("type") == "thinking":
                self._thought(_joined(part.get("thinking")), out)
            else:
                self._content(text(part.get("text")), out)

    def _thought(self, thought: str, out: list[StreamEvent], count: int = 1) -> None:
        if thought:
            self._grow(len(thought))
            if self._splitter is not None and not self._retold.has_fields:
                self._split(self._splitter.tell_apart(), out, 0)
            self._piece(self._retold.field(thought), out, count, is_thought=True)

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


def _older_calls(call: object) -> list[dict[str, Any]]:
    """Return the one call that an answer could have before there were lists of them."""
    return [{"index": 0, "function": call}] if call and isinstance(call, dict) else []


def _thought(delta: dict[str, Any]) -> str:
    told = text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
    details = None if told else delta.get("reasoning_details")
    return _joined(details) if details else told


def _joined(parts: object) -> str:
    return text(parts) or "".join(text(part.get("text")) for part in rows(parts))
