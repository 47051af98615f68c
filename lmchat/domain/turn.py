"""Figures of a turn, and the parts of a running answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
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
    sent_s: float | None = None
    """When the request was sent, after waiting in a queue or for a retry."""
    stage: Stage = Stage.WAITING
    state: AnswerState = AnswerState.STREAMING
    fraction: float | None = None  # 0 to 1, of loading the model or reading the prompt
    first_token_s: float | None = None
    last_token_s: float | None = None
    thought_from_s: float | None = None
    thought_to_s: float | None = None  # None while it thinks
    ended_s: float | None = None
    deltas: int = 0  # pieces of the answer from the server, about a token each
    chars: int = 0
    usage: UsageReported | None = None
    counted_deltas: int = 0  # `deltas` when the server counted last
    retry: RetryScheduled | None = None
    retries: int = 0
    stalls: int = 0
    silent_s: float = 0.0  # seconds without a byte, while it is stalled
    finish_reason: str = ""
    steps: int = 0  # rounds of tool calls before this answer
    is_summary: bool = False  # whether the answer is a summary that takes the place of messages

    # no simpler: it has one case for each event
    def apply(self, event: StreamEvent, now_s: float) -> Turn:  # noqa: C901, PLR0911, PLR0912
        """Return the turn after an event that came at `now_s`."""
        match event:
            case TextDelta(text=text, pieces=pieces) | RefusalDelta(text=text, pieces=pieces):
                return self._with_tokens(len(text), now_s, Stage.ANSWERING, pieces)
            case ReasoningDelta(text=text, pieces=pieces):
                return self._with_tokens(len(text), now_s, Stage.THINKING, pieces)
            case ToolCallDelta(arguments=arguments):
                return self._with_tokens(len(arguments), now_s, Stage.ANSWERING)
            case RequestQueued():
                return replace(self, stage=Stage.QUEUED)
            case RequestAdapted():
                return self
            case RequestSent():
                return self._with_new_attempt(now_s)
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
                return self._with_stall(silent_s)
            case Rethought(is_thought=is_thought):
                return self._with_changed_kind(now_s, is_thought=is_thought)
            case LifeSign(is_token=is_token):
                return self._after_stall(now_s, is_token=is_token)
            case UsageReported():
                return replace(self, usage=event, counted_deltas=self.deltas)
            case StreamFinished(reason=reason):
                return replace(self, finish_reason=reason)

    def end(self, state: AnswerState, now_s: float) -> Turn:
        """Return the turn as it ended; a thought that was not finished ends with its last token."""
        return replace(
            self,
            state=state,
            stage=Stage.ENDED,
            ended_s=now_s,
            thought_to_s=self.last_token_s if self._is_thinking else self.thought_to_s,
            fraction=None,
            retry=None,
        )

    def _with_new_attempt(self, now_s: float) -> Turn:
        """Return the turn with a request that was just sent.

        If no text has arrived, a first token belonged to the attempt before: it was not shown.
        """
        first_s = self.first_token_s if self.deltas else None
        return replace(self, stage=Stage.WAITING, retry=None, sent_s=now_s, first_token_s=first_s)

    def _with_stall(self, silent_s: float) -> Turn:
        """Return the turn while the server is silent; a stall is counted once, when it begins."""
        stalls = self.stalls
        if self.stage is not Stage.STALLED:
            stalls += 1
        return replace(self, stage=Stage.STALLED, silent_s=silent_s, stalls=stalls)

    def _with_changed_kind(self, now_s: float, *, is_thought: bool) -> Turn:
        """Return the turn after all its text became a thought, which ends now, or all an answer."""
        if not is_thought:
            return replace(self, stage=Stage.ANSWERING, thought_from_s=None, thought_to_s=None)
        from_s = self.first_token_s or now_s
        return replace(self, stage=Stage.ANSWERING, thought_from_s=from_s, thought_to_s=now_s)

    def _after_stall(self, now_s: float, *, is_token: bool) -> Turn:
        """Return the turn after data without text: if it was stalled, in the stage before.

        `is_token`: the data was a token, whose text comes later.
        """
        first_s = self.first_token_s
        stage = self.stage
        if stage is Stage.STALLED:
            stage = Stage.THINKING if self._is_thinking else Stage.ANSWERING
            if first_s is None:
                stage = Stage.WAITING
        if is_token and first_s is None:
            first_s = now_s
        return replace(self, first_token_s=first_s, stage=stage)

    def _with_tokens(self, chars: int, now_s: float, stage: Stage, pieces: int = 1) -> Turn:
        """Return the turn with more text; `chars` and `pieces` are its numbers of both.

        A thought begins with the first token of one, and ends with the first one of another kind.
        """
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
        """The stage as it is shown."""
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
        """Time from sending to the first token; None before there is one."""
        if self.first_token_s is None:
            return None
        sent_s = self.started_s if self.sent_s is None else self.sent_s
        return self.first_token_s - sent_s

    def elapsed_s(self, now_s: float) -> float:
        """Return the time since the start, or of the whole turn once it has ended."""
        end_s = now_s if self.ended_s is None else self.ended_s
        return end_s - self.started_s

    def thought_s(self, now_s: float) -> float | None:
        """Return how long the model has been thinking, or thought; None without a thought."""
        if self.thought_from_s is None:
            return None
        end_s = now_s if self.thought_to_s is None else self.thought_to_s
        return end_s - self.thought_from_s

    @property
    def is_estimated(self) -> bool:
        """Whether `tokens` is an estimate, as the server did not count all of them."""
        return self._server_count is None or self.deltas > self.counted_deltas

    @property
    def _server_count(self) -> int | None:
        """Tokens that the server counted; None without a count, or if it counted none of some."""
        count = self.usage.completion_tokens if self.usage is not None else None
        return None if count == 0 and self.deltas else count

    @property
    def tokens(self) -> int:
        """The server's count and the pieces since then, about a token each.

        Without a count, it is an estimate from pieces and characters: some servers send several
        tokens in a piece.
        """
        if self._server_count is not None:
            return self._server_count + self.deltas - self.counted_deltas
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
        """Return the figures to save with the answer.

        `context` is the size of the window and `max_tokens` the longest answer, both in tokens.
        """
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
        """Return the limit that cut the answer short, if one did and it is known which.

        Servers say "length" for both limits. `context` is the size of the window in tokens. If
        prompt and answer nearly fill it, it was the window.
        """
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
_CALL_KIND = r"(?a)tool_call (\d{1,9}) (id|name|arguments)"


def parts_of(pieces: Iterable[Piece]) -> tuple[Part, ...]:
    """Join pieces to parts; calls of tools come last, by their number."""
    text_pieces: list[Piece] = []
    calls: defaultdict[int, dict[str, str]] = defaultdict(
        lambda: {"id": "", "name": "", "arguments": ""}
    )
    for kind, text in pieces:
        if call_kind := re.fullmatch(_CALL_KIND, kind):
            number = int(call_kind[1])
            field = call_kind[2]
            calls[number][field] += text
        elif kind in TEXT_PARTS:
            text_pieces.append((kind, text))

    parts: list[Part] = []
    for kind, pieces_of_kind in groupby(text_pieces, itemgetter(0)):
        joined = "".join(text for _, text in pieces_of_kind)
        parts.append(TEXT_PARTS[kind](text=joined))
    for _, call in sorted(calls.items()):
        part = ToolCallPart(call_id=call["id"], name=call["name"], arguments=call["arguments"])
        parts.append(part)
    return tuple(parts)


def call_pieces(message: ChatMessage) -> tuple[Piece, ...]:
    """Return the tool calls of a message as pieces, which `parts_of` joins again."""
    pieces: list[Piece] = []
    for index, call in enumerate(message.tool_calls):
        pieces.append((f"tool_call {index} id", call.call_id))
        pieces.append((f"tool_call {index} name", call.name))
        pieces.append((f"tool_call {index} arguments", call.arguments))
    return tuple(pieces)


class GrowingAnswer:
    """A running answer, after the one that it continues, if any."""

    def __init__(self, begun: ChatMessage | None = None) -> None:
        self._texts: dict[str, list[str]] = {"reasoning": [], "text": [], "refusal": []}
        """Texts of all pieces so far, by the kind of the piece."""
        if begun is not None:
            self._texts["reasoning"] = [begun.reasoning]
            self._texts["text"] = [begun.text]
        # how many texts of each kind are of the answer that is continued
        self._begun_counts = {kind: len(texts) for kind, texts in self._texts.items()}

    def add(self, event: StreamEvent) -> tuple[Piece, ...]:
        """Take an event; return the pieces to keep on the disk."""
        match event:
            case TextDelta(text=text):
                return self._add_pieces([("text", text)])
            case ReasoningDelta(text=text):
                return self._add_pieces([("reasoning", text)])
            case RefusalDelta(text=text):
                return self._add_pieces([("refusal", text)])
            case Rethought(is_thought=is_thought):
                self._move_texts(is_thought=is_thought)
                return (RESET, *self.pieces)
            case ToolCallDelta():
                return self._add_pieces(self._pieces_of_call(event))
            case _:
                return ()

    def _move_texts(self, *, is_thought: bool) -> None:
        """Make all text of this answer a thought, or all its thought text.

        The answer that is continued keeps its texts.
        """
        source, target = ("text", "reasoning") if is_thought else ("reasoning", "text")
        begun_count = self._begun_counts[source]
        self._texts[target] += self._texts[source][begun_count:]
        del self._texts[source][begun_count:]

    def _pieces_of_call(self, delta: ToolCallDelta) -> list[Piece]:
        """Return the pieces of an event of a tool call; id and name with its first event only."""
        prefix = f"tool_call {delta.index}"
        pieces: list[Piece] = []
        if f"{prefix} id" not in self._texts:
            call_id = delta.call_id or f"call_{new_id()[:8]}"  # some servers give none
            pieces.append((f"{prefix} id", call_id))
        if f"{prefix} name" not in self._texts:
            pieces.append((f"{prefix} name", delta.name))
        pieces.append((f"{prefix} arguments", delta.arguments))
        return pieces

    def _add_pieces(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """Add the pieces that have a text; return these."""
        not_empty = tuple((kind, text) for kind, text in pieces if text)
        for kind, text in not_empty:
            self._texts.setdefault(kind, []).append(text)
        return not_empty

    def text(self, *kinds: str) -> str:
        """Return all texts of some kinds, joined in the order of the kinds."""
        return "".join("".join(self._texts[kind]) for kind in kinds)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """One piece for each kind that has a text."""
        joined = ((kind, "".join(texts)) for kind, texts in self._texts.items())
        return tuple((kind, text) for kind, text in joined if text)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the message, as far as they have arrived."""
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
        """Read a stream and close it; call `show` with each event.

        An error of the stream is raised after the answer so far and its figures were kept.
        """
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
