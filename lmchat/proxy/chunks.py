"""Chunks of one answer as events, in every shape that servers are known to send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

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
    UsageReported,
)
from lmchat.errors import ServerRejected, StreamInterrupted
from lmchat.proxy.error_body import is_error
from lmchat.proxy.frames import MIN_CHUNKS, Frame, frame_of
from lmchat.proxy.json_values import NotJsonError, amount, decode, mapping, rows, text, whole
from lmchat.proxy.sse import DONE, MalformedStreamError
from lmchat.proxy.think import SplitPiece, ThinkSplitter
from lmchat.proxy.tool_calls import ToolCalls

MAX_BAD_EVENTS_IN_A_ROW = 3
MAX_ANSWER_CHARS = 16 << 20
"""Limit for text, thought and tool calls of one answer: some days of a fast model."""
USAGE_EVERY_S = 1.0
_CALL_CHARS = 64  # counted for each fragment of a call: a server might send empty ones forever
_OPEN_TAG = "<think>"


class ChunkReader:
    """Reader of the chunks of one answer; remembers what its end is judged by."""

    def __init__(
        self,
        refuse: Callable[[object], ServerRejected],
        post: Callable[[StreamEvent], None],
        *,
        splitter: ThinkSplitter | None = None,
    ) -> None:
        """`refuse` returns the error for what a server sent inside a stream."""
        self.has_done = False
        self.has_token = False  # whether any text, thought or tool call came
        self.finish_reason = ""  # the server's word, empty if none came
        self._refuse = refuse
        self._post_event = post
        self._splitter = splitter
        self._figures = StreamFigures()
        self._calls = ToolCalls()
        self._is_named = False
        self._thoughts: list[str] = []  # that came in fields
        self._tagged: list[str] = []  # thought from between tags, which may repeat the fields
        self._frame: Frame | None = None
        self._bad_in_a_row = 0
        self._chars = 0
        self._posted = 0

    def read_run(self, payloads: Sequence[bytes]) -> None:
        """Read SSE events that have data alone; adjacent texts become one."""
        is_long = len(payloads) >= MIN_CHUNKS
        if self.has_done or (is_long and self._read_framed(payloads)):
            return
        self.read(payloads[0])
        if is_long:
            self._frame = frame_of(payloads[0])
            middle = (len(payloads) + 1) // 2
            self.read_run(payloads[1:middle])
            self.read_run(payloads[middle:])
            return
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
        posted = self._posted
        if data:
            self._read_payload(data, name)
        if self._posted == posted:
            self._post(LifeSign())

    def read_object(self, value: object) -> None:
        """Read a decoded chunk, or a whole reply."""
        chunk = mapping(value)
        model = text(chunk.get("model"))
        if model and not self._is_named:
            self._is_named = True
            self._post(ModelNamed(model=model))
        if progress := prompt_progress(chunk.get("prompt_progress")):
            self._post(progress)
        self._figures.take_usage(chunk.get("usage"))
        timings = chunk.get("timings") or chunk.get("stats")
        if report := self._figures.take_timings(timings):
            self._post(report)

        choices = rows(chunk.get("choices"))
        if choices and not choices[0].get("index"):
            choice = choices[0]
            self._read_delta(mapping(choice.get("delta") or choice.get("message")))
            self.finish_reason = text(choice.get("finish_reason")) or self.finish_reason

    def close(self) -> None:
        """Post what was held back, and the last figures."""
        if self._splitter is not None:
            self._post_split(self._splitter.close())
            self._post_tagged(is_thought=not self._splitter.is_open)
        if report := self._figures.report():
            self._post(report)

    def conclude(self, cut: str = "") -> StreamFinished:
        """Judge the end of the stream; `cut` says how the transport broke.

        Raises:
            StreamInterrupted: the answer is not complete.
            ServerRejected: there was none.
        """
        has_end = bool(self.finish_reason) or (self.has_done and self.has_token)
        if has_end and not cut:
            return StreamFinished(reason=self.finish_reason)
        if cut or self.has_token:
            cause = "the connection broke" if cut else "the server closed the connection"
            raise StreamInterrupted(
                f"Streaming failed: {cause} before the answer was complete.",
                hint="The text so far is kept; continue or regenerate it.",
                details=cut,
            )
        if self._bad_in_a_row:
            raise ServerRejected(
                "Streaming failed: the server sent no readable data.",
                kind="malformed_stream",
                hint="Check the server's log; is it an OpenAI-compatible server?",
            )
        if self.has_done:
            raise ServerRejected(
                "Streaming failed: the server sent an empty answer.",
                kind="empty_answer",
                hint="The session may exceed the model's context window; "
                "load the model with a larger one.",
            )
        raise ServerRejected(
            "Streaming failed: the server closed the connection without an answer.",
            kind="empty_answer",
            hint="Check the server's log, then try again.",
        )

    def _read_framed(self, payloads: Sequence[bytes]) -> bool:
        """Read chunks that differ in their text alone; return whether they did."""
        texts = self._frame.texts(payloads) if self._frame else None
        if self._frame is None or texts is None:
            return False
        self._bad_in_a_row = 0
        count = len(texts) - texts.count("")
        add = self._add_thought if self._frame.is_thought else self._add_content
        add("".join(texts), count)
        return True

    def _read_payload(self, data: bytes, name: str) -> None:
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

    def _read_delta(self, delta: dict[str, Any]) -> None:
        thought = text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
        self._add_thought(thought or _joined_texts(delta.get("reasoning_details")))
        content = delta.get("content")
        for part in content if isinstance(content, list) else [content]:
            self._read_part(part)
        if refusal := text(delta.get("refusal")):
            self._post_token(RefusalDelta(text=refusal), len(refusal))
        for fragment in _call_fragments(delta):
            call = self._calls.read(fragment)
            chars = len(call.name) + len(call.call_id) + len(call.arguments) + _CALL_CHARS
            self._post_token(call, chars)

    def _read_part(self, part: object) -> None:
        fields = mapping(part)
        if fields.get("type") == "thinking":
            self._add_thought(_joined_texts(fields.get("thinking")))
        else:
            self._add_content(text(part) or text(fields.get("text")))

    def _add_thought(self, thought: str, count: int = 1) -> None:
        if not thought:
            return
        self._grow(len(thought))
        if self._splitter is not None and not self._thoughts:
            self._post_split(self._splitter.note_thought_fields())
        self._thoughts.append(thought)
        self._post_piece(thought, count, is_thought=True)

    def _add_content(self, content: str, count: int = 1) -> None:
        if not content:
            return
        self._grow(len(content))
        if self._splitter is None:
            self._post_piece(content, count, is_thought=False)
            return
        self._post_split(self._splitter.feed(content), count)
        if not self.has_token:
            self._post(LifeSign(is_token=True))

    def _post_split(self, pieces: Iterable[SplitPiece | Rethought], count: int = 1) -> None:
        for piece in pieces:
            if isinstance(piece, Rethought):
                self._post(piece)
                continue
            is_thought, words = piece
            if is_thought and self._thoughts:
                self._tagged.append(words)
                continue
            if self._tagged:
                self._post_tagged()
            self._post_piece(words, count, is_thought=is_thought)
            count = 1

    def _post_tagged(self, *, is_thought: bool = True) -> None:
        """Post the text of tags, unless fields had it before (R-17; llama.cpp, `deepseek-legacy`).

        Without a closing tag it is no thought, but an answer about `<think>`.
        """
        tagged = "".join(self._tagged)
        self._tagged.clear()
        if "".join(self._thoughts).strip().startswith(tagged.strip()):
            return
        words = tagged if is_thought else f"{_OPEN_TAG}{tagged}"
        self._post_piece(words, is_thought=is_thought)

    def _post_piece(self, piece: str, count: int = 1, *, is_thought: bool) -> None:
        if piece:
            delta = ReasoningDelta if is_thought else TextDelta
            self._post_token(delta(text=piece, pieces=count), 0)

    def _post_token(self, event: StreamEvent, chars: int) -> None:
        self._grow(chars)
        self.has_token = True
        self._post(event)

    def _post(self, event: StreamEvent) -> None:
        self._posted += 1
        self._post_event(event)

    def _grow(self, chars: int) -> None:
        self._chars += chars
        if self._chars > MAX_ANSWER_CHARS:
            raise MalformedStreamError("the answer is longer than 16 MiB")


def _call_fragments(delta: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fragments of tool calls, also of the one call of the older form."""
    older = mapping(delta.get("function_call"))
    if older and not delta.get("tool_calls"):
        return [{"index": 0, "function": older}]
    return rows(delta.get("tool_calls"))


def _joined_texts(parts: object) -> str:
    return text(parts) or "".join(text(part.get("text")) for part in rows(parts))


class StreamFigures:
    """Counts and speeds that the server reports while it answers, in usage or timings (R-19)."""

    def __init__(self) -> None:
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._reported_s = time.monotonic()

    def take_usage(self, usage: object) -> None:
        self._usage = mapping(usage) or self._usage

    def take_timings(self, timings: object) -> UsageReported | None:
        """Take the timings of a chunk; return a report if one is due."""
        if not isinstance(timings, dict):
            return None
        self._timings = timings
        now_s = time.monotonic()
        if now_s - self._reported_s < USAGE_EVERY_S:
            return None
        self._reported_s = now_s
        return self.report()

    def report(self) -> UsageReported | None:
        usage, timings = self._usage, self._timings
        if not usage and not timings:
            return None
        cached = whole(timings.get("cache_n"))
        prompt = whole(usage.get("prompt_tokens"))
        if prompt is None and "prompt_n" in timings:
            prompt = (cached or 0) + (whole(timings.get("prompt_n")) or 0)
        if cached is None:
            cached = whole(mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
        completion = whole(usage.get("completion_tokens"))
        if completion is None:
            completion = whole(timings.get("predicted_n"))
        speed = amount(timings.get("predicted_per_second"))
        return UsageReported(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            tokens_per_second=speed or amount(timings.get("tokens_per_second")),
            prompt_tokens_per_second=amount(timings.get("prompt_per_second")),
        )


def prompt_progress(progress: object) -> PromptProgress | None:
    """Return how far the server has read the prompt, without what came from its cache."""
    if not isinstance(progress, dict):
        return None
    total = whole(progress.get("total")) or 0
    cached = whole(progress.get("cache")) or 0
    processed = whole(progress.get("processed")) or 0
    fraction = 1.0
    if total > cached:
        fraction = min(max((processed - cached) / (total - cached), 0.0), 1.0)
    return PromptProgress(fraction=fraction, processed_tokens=processed, total_tokens=total)
