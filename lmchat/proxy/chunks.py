"""Chunks of a streamed answer as events: tolerant of every shape that servers are known to send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lmchat.domain.event import (
    LifeSign,
    ModelNamed,
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    StreamEvent,
    TextDelta,
)
from lmchat.errors import ServerRejected
from lmchat.proxy.error_bodies import is_error
from lmchat.proxy.figures import Figures, prompt_progress
from lmchat.proxy.json_values import NotJsonError, decode, mapping, rows, text
from lmchat.proxy.outcome import Ending
from lmchat.proxy.plain_chunks import last_timings, leading, told_by
from lmchat.proxy.series import Series
from lmchat.proxy.sse import DONE, MalformedStreamError, SseEvent, SseRun
from lmchat.proxy.think import Piece, RetoldThought, ThinkSplitter
from lmchat.proxy.tool_calls import ToolCalls

MAX_BAD_EVENTS_IN_A_ROW = 3
MAX_ANSWER_CHARS = 16 << 20
"""Text, thought and tool calls of one answer: some days of a fast model, and little enough for the memory."""
MAX_CALLS = 1000
"""Tool calls of one answer."""
_CALL_CHARS = 64
"""What a piece of a tool call counts beside its texts: a server could send empty ones without end."""

Refuse = Callable[[object], ServerRejected]
"""Makes the error out of what a server sent in the middle of a stream."""


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
