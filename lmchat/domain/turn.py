"""Figures of a turn, from the prompt to the end of its answer, and the parts of a running answer."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field
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
    AnswerState,
    ChatMessage,
    Limit,
    Part,
    ReasoningPart,
    Receipt,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from lmchat.domain.server import is_other_model

CHARS_PER_TOKEN = 4.0
"""Used to estimate tokens until the server counts them."""
_NEARLY_FULL = 0.99
"""Servers stop a few tokens before the end of their window, and count a few more or less than we are told."""
SHORTEST_SPAN_S = 0.05
"""Tokens that came within less were sent in one go: how fast they were made is not known."""


class Stage(StrEnum):
    """Stage of a running turn; the value is the word on the screen."""

    QUEUED = "queued"
    WAITING = "waiting"
    RETRYING = "retrying"
    LOADING = "loading"
    READING = "reading prompt"
    THINKING = "thinking"
    ANSWERING = "answering"
    STALLED = "stalled"
    ENDED = "ended"


class Turn(Struct, frozen=True, kw_only=True):
    """The figures of a turn; times are of one monotonic clock, in seconds."""

    model: str
    """The model asked for, then the one that answers."""
    asked: str = ""
    """The model asked for, once another one answers (R-40)."""
    started_s: float
    sent_s: float | None = None
    """When the request that is being answered went out: later after waiting in a queue, or a retry."""
    stage: Stage = Stage.WAITING
    state: AnswerState = AnswerState.STREAMING
    fraction: float | None = None
    """Progress of loading or reading, 0 to 1."""
    first_token_s: float | None = None
    """When the first token came (R-18)."""
    last_token_s: float | None = None
    thought_from_s: float | None = None
    thought_to_s: float | None = None
    ended_s: float | None = None
    deltas: int = 0
    """Pieces of text and thought so far; servers send about one a token."""
    chars: int = 0
    usage: UsageReported | None = None
    counted_deltas: int = 0
    """Pieces that had come when it counted last."""
    retry: RetryScheduled | None = None
    retries: int = 0
    stalls: int = 0
    silent_s: float = 0.0
    """Seconds since the last byte, while stalled."""
    finish_reason: str = ""

    def apply(self, event: StreamEvent, now_s: float) -> Turn:  # noqa: C901, PLR0911, PLR0912 - one arm an event
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
                first_s = self.first_token_s if self.deltas else None  # one that was held went with its try
                return replace(self, stage=Stage.WAITING, retry=None, sent_s=now_s, first_token_s=first_s)
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
                fresh = self.stage is not Stage.STALLED
                return replace(self, stage=Stage.STALLED, silent_s=silent_s, stalls=self.stalls + fresh)
            case Rethought(is_thought=is_thought):
                return self._rethought(now_s, is_thought=is_thought)
            case LifeSign(is_token=is_token):
                return self._alive(now_s, is_token=is_token)
            case UsageReported():
                return replace(self, usage=event, counted_deltas=self.deltas)
            case StreamFinished(reason=reason):
                return replace(self, finish_reason=reason)

    def end(self, state: AnswerState, now_s: float) -> Turn:
        thought_to_s = self.thought_to_s
        if self.thought_from_s is not None and thought_to_s is None:
            thought_to_s = self.last_token_s
        return replace(
            self,
            state=state,
            stage=Stage.ENDED,
            ended_s=now_s,
            fraction=None,
            retry=None,
            thought_to_s=thought_to_s,
        )

    def _token(self, chars: int, now_s: float, stage: Stage, pieces: int = 1) -> Turn:
        thought_from_s, thought_to_s = self.thought_from_s, self.thought_to_s
        if stage is Stage.THINKING:
            thought_from_s = now_s if thought_from_s is None else thought_from_s
            thought_to_s = None
        elif thought_from_s is not None and thought_to_s is None:
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

    def _rethought(self, now_s: float, *, is_thought: bool) -> Turn:
        if not is_thought:
            return replace(self, stage=Stage.ANSWERING, thought_from_s=None, thought_to_s=None)
        from_s = now_s if self.first_token_s is None else self.first_token_s
        return replace(self, stage=Stage.ANSWERING, thought_from_s=from_s, thought_to_s=now_s)

    def _alive(self, now_s: float, *, is_token: bool) -> Turn:
        first_s = now_s if is_token and self.first_token_s is None else self.first_token_s
        stage = self._resting_stage() if self.stage is Stage.STALLED else self.stage
        if (first_s, stage) == (self.first_token_s, self.stage):
            return self
        return replace(self, first_token_s=first_s, stage=stage)

    def _resting_stage(self) -> Stage:
        if self.first_token_s is None:
            return Stage.WAITING
        return (
            Stage.THINKING
            if self.thought_from_s is not None and self.thought_to_s is None
            else Stage.ANSWERING
        )

    @property
    def is_running(self) -> bool:
        return self.ended_s is None

    @property
    def ttft_s(self) -> float | None:
        if self.first_token_s is None:
            return None
        return self.first_token_s - (self.started_s if self.sent_s is None else self.sent_s)

    def elapsed_s(self, now_s: float) -> float:
        """Seconds since it was sent, up to its end."""
        return (now_s if self.ended_s is None else self.ended_s) - self.started_s

    def thought_s(self, now_s: float) -> float | None:
        """Seconds of thinking so far; None where the model did not think."""
        if self.thought_from_s is None:
            return None
        return (now_s if self.thought_to_s is None else self.thought_to_s) - self.thought_from_s

    @property
    def is_estimated(self) -> bool:
        return self._counted is None or self.deltas > self.counted_deltas

    @property
    def _counted(self) -> int | None:
        """Tokens of the answer as the server counted them; a count that lags behind the text is none."""
        counted = self.usage.completion_tokens if self.usage is not None else None
        return None if counted == 0 and self.deltas else counted

    @property
    def tokens(self) -> int:
        """Tokens of the answer: the server's count and the pieces since, which are about one a token."""
        if self._counted is not None:
            return self._counted + self.deltas - self.counted_deltas
        return max(self.deltas, round(self.chars / (2 * CHARS_PER_TOKEN)))

    @property
    def tokens_per_second(self) -> float | None:
        """The server's figure, else (tokens - 1) over the time between the first and the last (R-19)."""
        if self.usage is not None and self.usage.tokens_per_second is not None:
            return self.usage.tokens_per_second
        if self.first_token_s is None or self.last_token_s is None:
            return None
        span_s = self.last_token_s - self.first_token_s
        return (self.tokens - 1) / span_s if span_s >= SHORTEST_SPAN_S and self.tokens > 1 else None

    def receipt(self, *, context: int | None = None, max_tokens: int | None = None) -> Receipt:
        """Return the figures to keep with the answer, given what it had to keep within, as far as known."""
        ttft_s, ended_s = self.ttft_s, self.ended_s if self.ended_s is not None else self.started_s
        thought_s = self.thought_s(ended_s)
        return Receipt(
            ttft_ms=None if ttft_s is None else ttft_s * 1e3,
            tokens_per_second=self.tokens_per_second,
            prompt_tokens=self.usage.prompt_tokens if self.usage else None,
            completion_tokens=self.tokens if self.first_token_s is not None else None,
            is_estimated=self.is_estimated,
            elapsed_ms=(ended_s - self.started_s) * 1e3,
            reasoning_ms=None if thought_s is None else thought_s * 1e3,
            finish_reason=self.finish_reason,
            retries=self.retries,
            asked=self.asked,
            limit=self._limit(context, max_tokens),
        )

    def _limit(self, context: int | None, max_tokens: int | None) -> Limit | None:
        """Return what cut the answer short: servers have one word for both, and end normally."""
        if self.finish_reason != "length":
            return None
        prompt_tokens = self.usage.prompt_tokens if self.usage is not None else None
        if context is None or prompt_tokens is None:
            return None if max_tokens is None else Limit.MAX_TOKENS
        is_full = prompt_tokens + self.tokens >= context * _NEARLY_FULL
        return Limit.CONTEXT if is_full else Limit.MAX_TOKENS


Piece = tuple[str, str]
"""A kind and a text, as the disk keeps them of an answer that is on its way."""
ANEW: Piece = ("anew", "")
"""Marks that the pieces behind it replace all that was kept so far."""
_MOST_DIGITS = 9


class CallKind(Struct, frozen=True):
    """The kind of a piece of a tool call, as a word: which call it is of, and what of it."""

    index: int
    field: str

    def __str__(self) -> str:
        return f"tool_call {self.index} {self.field}"

    @classmethod
    def read(cls, kind: str) -> CallKind | None:
        """Return what a kind says, None where it is not of a tool call."""
        match kind.split(" "):
            case ["tool_call", index, "id" | "name" | "arguments" as field] if (
                index.isdecimal() and len(index) <= _MOST_DIGITS
            ):
                return cls(int(index), field)
        return None


class GrowingAnswer(Struct):
    """Parts of an answer that is still on its way."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    calls: dict[int, ToolCallPart] = field(default_factory=dict)
    begun: Receipt | None = None
    """Figures of the unfinished answer that this one goes on with."""
    _begun: tuple[int, int] = (0, 0)

    @classmethod
    def after(cls, begun: ChatMessage | None) -> GrowingAnswer:
        """Return the beginning of an answer that goes on with another one."""
        texts = [begun.text] if begun and begun.text else []
        thoughts = [begun.reasoning] if begun and begun.reasoning else []
        figures = begun.receipt if begun else None
        return cls(texts=texts, thoughts=thoughts, begun=figures, _begun=(len(texts), len(thoughts)))

    def add(self, event: StreamEvent) -> tuple[Piece, ...]:
        """Take an event; return the pieces to keep on the disk, if it brought any."""
        match event:
            case TextDelta(text=text):
                self.texts.append(text)
                return (("text", text),)
            case ReasoningDelta(text=text):
                self.thoughts.append(text)
                return (("reasoning", text),)
            case RefusalDelta(text=text):
                self.refusals.append(text)
                return (("refusal", text),)
            case Rethought(is_thought=is_thought):
                self._rethink(is_thought=is_thought)
                return (ANEW, *self.pieces)
            case ToolCallDelta():
                return self._add_call(event)
            case _:
                return ()

    def _rethink(self, *, is_thought: bool) -> None:
        """Take the text of this stream for thought, or its thought for text."""
        texts, thoughts = self._begun
        if is_thought:
            self.thoughts += self.texts[texts:]
            del self.texts[texts:]
        else:
            self.texts += self.thoughts[thoughts:]
            del self.thoughts[thoughts:]

    def _add_call(self, delta: ToolCallDelta) -> tuple[Piece, ...]:
        known = self.calls.get(delta.index, ToolCallPart(call_id="", name="", arguments=""))
        fresh = ToolCallPart(
            call_id="" if known.call_id else delta.call_id,
            name="" if known.name else delta.name,
            arguments=delta.arguments,
        )
        self.calls[delta.index] = ToolCallPart(
            call_id=known.call_id or fresh.call_id,
            name=known.name or fresh.name,
            arguments=known.arguments + fresh.arguments,
        )
        return _call_pieces(delta.index, fresh)

    @property
    def has_content(self) -> bool:
        return bool(self.texts or self.thoughts or self.refusals or self.calls)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All that came so far, as the disk keeps it."""
        kinds = (("reasoning", self.thoughts), ("text", self.texts), ("refusal", self.refusals))
        texts = ((kind, "".join(texts)) for kind, texts in kinds if texts)
        calls = (_call_pieces(index, call) for index, call in self.calls.items())
        return (*texts, *(piece for pieces in calls for piece in pieces))

    @property
    def parts(self) -> tuple[Part, ...]:
        parts: list[Part] = []
        if self.thoughts:
            parts.append(ReasoningPart(text="".join(self.thoughts)))
        if self.texts:
            parts.append(TextPart(text="".join(self.texts)))
        if self.refusals:
            parts.append(RefusalPart(text="".join(self.refusals)))
        return (*parts, *(self.calls[index] for index in sorted(self.calls)))


def _call_pieces(index: int, call: ToolCallPart) -> tuple[Piece, ...]:
    fields = (("id", call.call_id), ("name", call.name), ("arguments", call.arguments))
    return tuple((str(CallKind(index, field)), text) for field, text in fields if text)
