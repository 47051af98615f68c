"""Figures of a turn, and the parts of a running answer."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from time import monotonic

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.event import (
    LifeSign,
    ModelLoading,
    ModelNamed,
    PromptProgress,
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    RequestQueued,
    RequestSent,
    Rethought,
    RetryScheduled,
    StreamEvent,
    StreamFinished,
    StreamStalled,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from lmchat.domain.message import (
    TEXT_PARTS,
    AnswerState,
    ChatMessage,
    Limit,
    Part,
    Receipt,
    ToolCallPart,
    new_id,
)
from lmchat.domain.model_names import is_other_model

_CHARS_PER_TOKEN = 8.0  # a piece with more of them holds several tokens
_NEARLY_FULL = 0.99  # servers stop a few tokens before the end of their window
SHORTEST_SPAN_S = 0.05  # tokens that came within less were sent at once; their speed is not known


class Stage(StrEnum):
    """Stage of a running turn."""

    QUEUED = "queued"
    WAITING = "waiting"
    RETRYING = "retrying"
    LOADING = "loading"
    READING = "reading prompt"
    THINKING = "thinking"
    ANSWERING = "answering"
    TOOLS = "running tools"
    STALLED = "stalled"
    ENDED = "ended"


class Turn(Struct, frozen=True, kw_only=True):
    """The figures of a turn; times are monotonic seconds."""

    model: str  # the model asked for, then the one that answers
    asked: str = ""  # the model asked for, once another one answers
    started_s: float
    sent_s: float | None = (
        None  # when the request was sent, after waiting in a queue or for a retry
    )
    stage: Stage = Stage.WAITING
    state: AnswerState = AnswerState.STREAMING
    fraction: float | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None
    thought_from_s: float | None = None
    thought_to_s: float | None = None
    ended_s: float | None = None
    deltas: int = 0
    chars: int = 0
    usage: UsageReported | None = None
    counted_deltas: int = 0  # `deltas` when the server counted last
    retry: RetryScheduled | None = None
    retries: int = 0
    stalls: int = 0
    silent_s: float = 0.0
    finish_reason: str = ""
    steps: int = 0  # rounds of tool calls before this answer
    is_summary: bool = False  # whether the answer is a summary that takes the place of messages

    # one arm for each event
    def apply(self, event: StreamEvent, now_s: float) -> Turn:  # noqa: C901, PLR0911, PLR0912
        """Return the turn after an event that came at `now_s`."""
        match event:
            case TextDelta(text=text, pieces=pieces) | RefusalDelta(text=text, pieces=pieces):
                return self._token(len(text), now_s, Stage.ANSWERING, pieces)
            case ReasoningDelta(text=text, pieces=pieces):
                return self._token(len(text), now_s, Stage.THINKING, pieces)
            case ToolCallDelta(arguments=arguments):
                return self._token(len(arguments), now_s, Stage.ANSWERING)
            case RequestQueued():
                return replace(self, stage=Stage.QUEUED)
            case RequestAdapted():
                return self
            case RequestSent():
                return self._sent(now_s)
            case RetryScheduled():
                return replace(self, stage=Stage.RETRYING, retry=event, retries=event.attempt - 1)
            case ModelLoading(fraction=fraction):
                return replace(self, stage=Stage.LOADING, fraction=fraction)
            case PromptProgress(fraction=fraction):
                return replace(self, stage=Stage.READING, fraction=fraction)
            case ModelNamed(model=model):
                asked = self.model if is_other_model(self.model, model) else self.asked
                return replace(self, model=model, asked=asked)
            case StreamStalled(silent_s=silent_s):
                return self._stalled(silent_s)
            case Rethought(is_thought=is_thought):
                return self._rethought(now_s, is_thought=is_thought)
            case LifeSign(is_token=is_token):
                return self._alive(now_s, is_token=is_token)
            case UsageReported():
                return replace(self, usage=event, counted_deltas=self.deltas)
            case StreamFinished(reason=reason):
                return replace(self, finish_reason=reason)

    def end(self, state: AnswerState, now_s: float) -> Turn:
        return replace(
            self,
            state=state,
            stage=Stage.ENDED,
            ended_s=now_s,
            thought_to_s=self.last_token_s if self._is_thinking else self.thought_to_s,
            fraction=None,
            retry=None,
        )

    def _sent(self, now_s: float) -> Turn:
        """Begin an attempt; a token that was held back belonged to the one before."""
        first_s = self.first_token_s if self.deltas else None
        return replace(self, stage=Stage.WAITING, retry=None, sent_s=now_s, first_token_s=first_s)

    def _stalled(self, silent_s: float) -> Turn:
        stalls = self.stalls
        if self.stage is not Stage.STALLED:
            stalls += 1
        return replace(self, stage=Stage.STALLED, silent_s=silent_s, stalls=stalls)

    def _rethought(self, now_s: float, *, is_thought: bool) -> Turn:
        from_s = self.first_token_s or now_s if is_thought else None
        to_s = now_s if is_thought else None
        return replace(self, stage=Stage.ANSWERING, thought_from_s=from_s, thought_to_s=to_s)

    def _alive(self, now_s: float, *, is_token: bool) -> Turn:
        """Return to the stage before a stall."""
        first_s = self.first_token_s
        stage = self.stage
        if stage is Stage.STALLED:
            stage = Stage.THINKING if self._is_thinking else Stage.ANSWERING
            if first_s is None:
                stage = Stage.WAITING
        if is_token and first_s is None:
            first_s = now_s
        return replace(self, first_token_s=first_s, stage=stage)

    def _token(self, chars: int, now_s: float, stage: Stage, pieces: int = 1) -> Turn:
        thought_from_s = self.thought_from_s
        thought_to_s = self.thought_to_s
        if stage is Stage.THINKING:
            thought_to_s = None
            if thought_from_s is None:
                thought_from_s = now_s
        elif self._is_thinking:
            thought_to_s = now_s
        return replace(
            self,
            stage=stage,
            fraction=None,
            first_token_s=now_s if self.first_token_s is None else self.first_token_s,
            last_token_s=now_s,
            thought_from_s=thought_from_s,
            thought_to_s=thought_to_s,
            deltas=self.deltas + pieces,
            chars=self.chars + chars,
        )

    @property
    def stage_word(self) -> str:
        is_summarising = self.is_summary and self.stage is Stage.ANSWERING
        return "summarising" if is_summarising else self.stage.value

    @property
    def _is_thinking(self) -> bool:
        return self.thought_from_s is not None and self.thought_to_s is None

    @property
    def is_running(self) -> bool:
        return self.ended_s is None

    @property
    def ttft_s(self) -> float | None:
        if self.first_token_s is None:
            return None
        sent_s = self.started_s if self.sent_s is None else self.sent_s
        return self.first_token_s - sent_s

    def elapsed_s(self, now_s: float) -> float:
        end_s = now_s if self.ended_s is None else self.ended_s
        return end_s - self.started_s

    def thought_s(self, now_s: float) -> float | None:
        if self.thought_from_s is None:
            return None
        end_s = now_s if self.thought_to_s is None else self.thought_to_s
        return end_s - self.thought_from_s

    @property
    def is_estimated(self) -> bool:
        return self._counted is None or self.deltas > self.counted_deltas

    @property
    def _counted(self) -> int | None:
        counted = self.usage.completion_tokens if self.usage is not None else None
        return None if counted == 0 and self.deltas else counted

    @property
    def tokens(self) -> int:
        """The server's count and the pieces since, about one a token."""
        if self._counted is not None:
            return self._counted + self.deltas - self.counted_deltas
        return max(self.deltas, round(self.chars / _CHARS_PER_TOKEN))

    @property
    def tokens_per_second(self) -> float | None:
        """The server's figure, else (tokens - 1) over the time from first to last (R-19)."""
        if self.usage is not None and self.usage.tokens_per_second is not None:
            return self.usage.tokens_per_second
        if self.first_token_s is None or self.last_token_s is None:
            return None
        span_s = self.last_token_s - self.first_token_s
        is_measured = span_s >= SHORTEST_SPAN_S and self.tokens > 1
        return (self.tokens - 1) / span_s if is_measured else None

    def receipt(self, *, context: int | None = None, max_tokens: int | None = None) -> Receipt:
        """Return the figures to keep with the answer, given its limits where known."""
        ended_s = self.started_s if self.ended_s is None else self.ended_s
        return Receipt(
            ttft_ms=_milliseconds(self.ttft_s),
            tokens_per_second=self.tokens_per_second,
            prompt_tokens=self.usage.prompt_tokens if self.usage else None,
            completion_tokens=None if self.first_token_s is None else self.tokens,
            is_estimated=self.is_estimated,
            elapsed_ms=(ended_s - self.started_s) * 1e3,
            reasoning_ms=_milliseconds(self.thought_s(ended_s)),
            finish_reason=self.finish_reason,
            retries=self.retries,
            asked=self.asked,
            limit=self._limit(context, max_tokens),
            steps=self.steps,
        )

    def _limit(self, context: int | None, max_tokens: int | None) -> Limit | None:
        """Return what cut the answer short: servers have one word for both limits."""
        if self.finish_reason != "length":
            return None
        prompt_tokens = self.usage.prompt_tokens if self.usage is not None else None
        if context is None or prompt_tokens is None:
            return None if max_tokens is None else Limit.MAX_TOKENS
        is_full = prompt_tokens + self.tokens >= context * _NEARLY_FULL
        return Limit.CONTEXT if is_full else Limit.MAX_TOKENS


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


Piece = tuple[str, str]
"""A kind (`text`, `reasoning`, `refusal`, `tool_call 0 name`) and a text, as on the disk."""
RESET: Piece = ("anew", "")  # the pieces behind it replace all before it
_CALL = r"(?a)tool_call (\d{1,9}) (id|name|arguments)"


def parts_of(pieces: Iterable[Piece]) -> tuple[Part, ...]:
    """Join pieces to parts; calls of tools come last."""
    texts: list[Piece] = []
    calls: dict[int, dict[str, str]] = {}
    for kind, text in pieces:
        if found := re.fullmatch(_CALL, kind):
            call = calls.setdefault(int(found[1]), {"id": "", "name": "", "arguments": ""})
            call[found[2]] += text
        elif kind in TEXT_PARTS:
            texts.append((kind, text))

    parts: list[Part] = []
    for kind, run in groupby(texts, itemgetter(0)):
        joined = "".join(text for _, text in run)
        parts.append(TEXT_PARTS[kind](text=joined))
    for _, call in sorted(calls.items()):
        part = ToolCallPart(call_id=call["id"], name=call["name"], arguments=call["arguments"])
        parts.append(part)
    return tuple(parts)


def call_pieces(message: ChatMessage) -> tuple[Piece, ...]:
    """Return the tool calls of a message as pieces."""
    pieces: list[Piece] = []
    for index, call in enumerate(message.tool_calls):
        pieces.append((f"tool_call {index} id", call.call_id))
        pieces.append((f"tool_call {index} name", call.name))
        pieces.append((f"tool_call {index} arguments", call.arguments))
    return tuple(pieces)


class GrowingAnswer:
    """A running answer, after the one that it continues."""

    def __init__(self, begun: ChatMessage | None = None) -> None:
        self._texts: dict[str, list[str]] = {"reasoning": [], "text": [], "refusal": []}
        if begun is not None:
            self._texts |= {"reasoning": [begun.reasoning], "text": [begun.text]}
        self._begun = {kind: len(texts) for kind, texts in self._texts.items()}

    def add(self, event: StreamEvent) -> tuple[Piece, ...]:
        """Take an event; return the pieces to keep on the disk."""
        match event:
            case TextDelta(text=text):
                return self._add(("text", text))
            case ReasoningDelta(text=text):
                return self._add(("reasoning", text))
            case RefusalDelta(text=text):
                return self._add(("refusal", text))
            case Rethought(is_thought=is_thought):
                self._move_texts(is_thought=is_thought)
                return (RESET, *self.pieces)
            case ToolCallDelta():
                return self._add(*self._new_call_pieces(event))
            case _:
                return ()

    def _move_texts(self, *, is_thought: bool) -> None:
        """Make thought of all text of this answer, or text of all thought."""
        source, target = ("text", "reasoning") if is_thought else ("reasoning", "text")
        begun = self._begun[source]
        self._texts[target] += self._texts[source][begun:]
        del self._texts[source][begun:]

    def _new_call_pieces(self, delta: ToolCallDelta) -> Iterator[Piece]:
        """Yield the pieces of a tool call; its id and name are kept once."""
        call = f"tool_call {delta.index}"
        if f"{call} id" not in self._texts:
            yield f"{call} id", delta.call_id or f"call_{new_id()[:8]}"  # some servers give none
        if f"{call} name" not in self._texts:
            yield f"{call} name", delta.name
        yield f"{call} arguments", delta.arguments

    def _add(self, *pieces: Piece) -> tuple[Piece, ...]:
        added = tuple(piece for piece in pieces if piece[1])
        for kind, text in added:
            self._texts.setdefault(kind, []).append(text)
        return added

    def text(self, *kinds: str) -> str:
        return "".join("".join(self._texts[kind]) for kind in kinds)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        joined = ((kind, "".join(texts)) for kind, texts in self._texts.items())
        return tuple(piece for piece in joined if piece[1])

    @property
    def parts(self) -> tuple[Part, ...]:
        return parts_of(self.pieces)


class WholeAnswer:
    """An answer that is read to its end, with its figures."""

    def __init__(self, model: str) -> None:
        self.turn = Turn(model=model, started_s=monotonic())
        self.growing = GrowingAnswer()

    async def read(
        self,
        stream: AsyncGenerator[StreamEvent, None],
        show: Callable[[StreamEvent], None] = lambda _: None,
    ) -> None:
        """Read a stream and close it; what came before an error is kept."""
        state = AnswerState.FAILED
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    self.turn = self.turn.apply(event, monotonic())
                    self.growing.add(event)
                    show(event)
            state = AnswerState.COMPLETE
        finally:
            self.turn = self.turn.end(state, monotonic())
