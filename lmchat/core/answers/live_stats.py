"""Stage and stats of an answer, or of a round of tool calls, from its events.

An event has the text of one chunk: of one token, at some servers of several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from msgspec import Struct, convert, field
from msgspec.structs import replace

from lmchat.base import units
from lmchat.core.servers.events import (
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
    TokensChosen,
    ToolCallDelta,
    UsageReported,
)
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    Limit,
    is_cut_end,
)

_CHARS_PER_TOKEN = 8.0  # a chunk of more characters holds several tokens
_NEARLY_FULL = 0.99  # of a full window: servers stop a few tokens before its end
SHORTEST_SPAN_S = 0.05  # if all tokens come within less time, their speed cannot be measured


class Stage(StrEnum):
    """Stage of a running answer, or of a round of tool calls."""

    STARTING = "starting tools"  # before the first answer with tools
    QUEUED = "queued"
    WAITING = "waiting"
    RETRYING = "retrying"
    LOADING = "loading"
    READING = "reading prompt"
    THINKING = "thinking"
    ANSWERING = "answering"
    TOOLS = "running tools"  # the first stage of a round of tool calls
    STALLED = "stalled"
    ENDED = "ended"


class LiveStats(Struct, kw_only=True):
    """What `AnswerStats` has of an ended answer, and the moments from which it is computed.

    Fields in `_s` are moments of a monotonic clock; only `silent_s` is a length of time.
    """

    model: str  # the model asked for, then the one that answers
    asked: str = ""  # the model asked for, once another one answers
    served: str = ""  # the server's own name of `model`, if it is another one
    started_s: float
    sent_s: float | None = None
    """When the request was sent, after waiting in a queue or for a retry."""
    stage: Stage = Stage.WAITING
    starting: Callable[[], str] = str  # names of the tool servers that it waits for
    state: AnswerState = AnswerState.STREAMING
    # 0 to 1, of loading the model or reading the prompt; None once text arrives
    fraction: float | None = None
    first_token_s: float | None = None  # of a thought, the answer or a call
    last_token_s: float | None = None
    thought_from_s: float | None = None
    thought_ended_s: float | None = None  # None while the model thinks
    ended_s: float | None = None
    queued_from_s: float | None = None  # when the wait for another answer started
    queue_ms: float = 0.0  # of waits for other answers that have ended
    loading_from_s: float | None = None  # when the server started to load the model
    load_ms: float | None = None  # known once the server reads the prompt
    wait_ms: float | None = None  # until the first word of the answer, or of a call
    was_asleep: bool = False  # whether the model had been put to sleep
    build: str = ""  # of the server, as it said it
    chunks: int = 0  # of the answer, its thought and its calls
    thought_chunks: int = 0  # of the thought alone
    chars: int = 0  # in all `chunks`
    usage: UsageReported = UsageReported()  # the last counts of the server
    counted_chunks: int = 0  # `chunks` at the time when the server reported `usage`
    retry: RetryScheduled | None = None  # the next attempt, while the wait before it lasts
    asks_again_s: float | None = None  # at the next attempt, or as a server that loads has said
    retries: int = 0
    stalls: int = 0  # how often the server has sent nothing for a while
    silent_s: float = 0.0  # without a byte, while it is stalled
    finish_reason: str = ""  # as the server gave it
    is_part_missing: bool = False  # as lmchat could not read it
    estimated_prompt_tokens: int = 0  # known at the end
    steps: int = 0  # rounds of tool calls before this answer
    sampling: Mapping[str, object] = field(default_factory=dict)  # options that were sent
    product: str = ""
    context: int | None = None  # size of the window in tokens
    max_tokens: int | None = None  # longest answer in tokens

    def apply(self, event: StreamEvent, now_s: float) -> None:
        match event:
            case TextDelta(text=text, chunks=chunks) | RefusalDelta(text=text, chunks=chunks):
                self._count(len(text), now_s, Stage.ANSWERING, chunks)
            case ReasoningDelta(text=text, chunks=chunks):
                self._count(len(text), now_s, Stage.THINKING, chunks)
            case ToolCallDelta(arguments=arguments):
                self._count(len(arguments), now_s, Stage.ANSWERING)
            case RequestQueued():
                self._leave_queue(now_s)  # a request may wait in two queues, one after the other
                self.stage = Stage.QUEUED
                self.queued_from_s = now_s
            case RequestSent(sampling=sampling):
                self._leave_queue(now_s)
                self.stage = Stage.WAITING
                self.retry = None
                self.sent_s = now_s
                # an attempt before may have had a token whose text never came (`LifeSign`)
                self.first_token_s = None
                self.sampling = sampling
            case RetryScheduled():
                self.stage = Stage.RETRYING
                self.retry = event
                self.asks_again_s = now_s + event.wait_s
                self.retries = event.attempt - 1  # the first attempt is no retry
            case ModelLoading(fraction=fraction, is_asleep=is_asleep, wait_s=wait_s):
                self._leave_queue(now_s)  # the server has taken the request
                self.stage = Stage.LOADING
                self.fraction = fraction
                self.was_asleep |= is_asleep
                self.asks_again_s = None if wait_s is None else now_s + wait_s
                if self.loading_from_s is None:
                    self.loading_from_s = now_s
            case PromptProgress(fraction=fraction):
                # a server reads the prompt when the model is loaded
                if self.loading_from_s is not None and self.load_ms is None:
                    self.load_ms = (now_s - self.loading_from_s) * 1e3
                self.stage = Stage.READING
                self.fraction = fraction
            case ModelNamed():
                self._name_model(event)
            case StreamStalled(silent_s=silent_s):
                # the event is repeated during the silence, which is one stall
                is_new_stall = self.stage is not Stage.STALLED
                self.stalls += int(is_new_stall)
                self.stage = Stage.STALLED
                self.silent_s = silent_s
            case Rethought():  # all text so far was a thought, which started with the first token
                self.stage = Stage.ANSWERING
                self.thought_from_s = self.first_token_s or now_s
                self.thought_ended_s = now_s
                self.thought_chunks = self.chunks
                self.wait_ms = None  # no word of the answer itself has come
            case LifeSign(is_token=is_token):  # the server has sent data without a text to show
                self._end_stall()
                if is_token and self.first_token_s is None:  # the text of the token comes later
                    self.first_token_s = now_s
            case UsageReported():
                self.usage = event
                self.counted_chunks = self.chunks  # later ones are not in the server's count
            case StreamFinished(reason=reason):
                self.finish_reason = reason
            case RequestAdapted(is_part_missing=is_part_missing):
                self.is_part_missing |= is_part_missing
            case TokensChosen():
                pass  # it changes nothing

    def _name_model(self, event: ModelNamed) -> None:
        if event.is_other:
            self.asked = self.asked or self.model  # so that the answer names both models
        if event.is_other or not self.model:
            self.model = event.model
        self.served = "" if event.model == self.model else event.model
        self.build = event.build or self.build

    def stage_label(self, now_s: float) -> str:
        retry = self.retry
        wait = units.elapsed(max((self.asks_again_s or now_s) - now_s, 0.0))
        if self.stage is Stage.RETRYING and retry is not None:
            return f"retry {retry.attempt}/{retry.attempts} in {wait}"
        if self.stage is Stage.STARTING:
            return f"starting {self.starting()}"
        text = f"{self.stage.value}{units.progress_suffix(self.fraction)}"
        if self.stage is Stage.LOADING and self.asks_again_s is not None:
            text += f", asked again in {wait}"
        return text

    def end(self, state: AnswerState, now_s: float) -> None:
        if self.is_thinking:
            self.thought_ended_s = self.last_token_s
        self.state = state
        self.stage = Stage.ENDED
        self.ended_s = now_s
        self.fraction = None
        self.retry = None

    def _leave_queue(self, now_s: float) -> None:
        if self.stage is Stage.STARTING:  # the time of the tool servers is not that of the answer
            self.started_s = now_s
        if self.queued_from_s is not None:
            self.queue_ms += (now_s - self.queued_from_s) * 1e3
            self.queued_from_s = None

    def _end_stall(self) -> None:
        if self.stage is not Stage.STALLED:
            return
        if self.first_token_s is None:
            self.stage = Stage.WAITING
        else:
            self.stage = Stage.THINKING if self.is_thinking else Stage.ANSWERING

    def _count(self, chars: int, now_s: float, stage: Stage, chunks: int = 1) -> None:
        """Text of the answer ends a thought; later reasoning continues it.

        Text without a chunk is of the template: the model has written nothing yet.
        """
        if not chunks:
            self._end_stall()
            return
        if stage is Stage.THINKING:
            self.thought_ended_s = None
            self.thought_chunks += chunks
            if self.thought_from_s is None:
                self.thought_from_s = now_s
        elif self.is_thinking:
            self.thought_ended_s = now_s
        if stage is Stage.ANSWERING and self.wait_ms is None:
            self.wait_ms = (now_s - self.started_s) * 1e3
        if self.first_token_s is None:
            self.first_token_s = now_s
        self.last_token_s = now_s
        self.stage = stage
        self.fraction = None  # the model is loaded and the prompt is read
        self.chunks += chunks
        self.chars += chars

    @property
    def has_text(self) -> bool:
        """Whether anything has come, also a thought or a call."""
        return self.chunks > 0

    @property
    def may_be_thinking(self) -> bool:
        is_running_answer = self.is_running and self.stage is not Stage.TOOLS
        return is_running_answer and (self.is_thinking or not self.has_text)

    @property
    def is_thinking(self) -> bool:
        return self.thought_from_s is not None and self.thought_ended_s is None

    @property
    def is_running(self) -> bool:
        return self.ended_s is None

    @property
    def ttft_ms(self) -> float | None:
        if self.first_token_s is None or self.sent_s is None:
            return None
        return (self.first_token_s - self.sent_s) * 1e3

    def elapsed_s(self, now_s: float) -> float:
        """So far, or in all."""
        end_s = now_s if self.ended_s is None else self.ended_s
        return end_s - self.started_s

    @property
    def is_estimated(self) -> bool:
        """Also if only some of the tokens are estimated."""
        return self._server_count is None or self.chunks > self.counted_chunks

    @property
    def _server_count(self) -> int | None:
        """A count of 0 is wrong if text has arrived."""
        count = self.usage.completion_tokens
        return None if count == 0 and self.chunks else count

    @property
    def completion_tokens(self) -> int | None:
        """None before the first one; 0 would mean an empty answer.

        Without a count of the server, it is estimated from chunks or characters: some servers send
        several tokens in a chunk.
        """
        if self.first_token_s is None:
            return None
        if self._server_count is not None:
            return self._server_count + self.chunks - self.counted_chunks
        return max(self.chunks, round(self.chars / _CHARS_PER_TOKEN))

    @property
    def tokens_per_second(self) -> float | None:
        """Speed that the server tells, else that lmchat measures (R-19)."""
        if self.usage.tokens_per_second is not None:
            return self.usage.tokens_per_second
        if self.first_token_s is None or self.last_token_s is None:
            return None
        span_s = self.last_token_s - self.first_token_s
        later_tokens = (self.completion_tokens or 0) - 1
        is_measured = span_s >= SHORTEST_SPAN_S and later_tokens > 0
        return later_tokens / span_s if is_measured else None

    @property
    def thought_tokens(self) -> int | None:
        # without a count of the server, a chunk is about a token
        return self.usage.thought_tokens or self.thought_chunks or None

    @property
    def was_loaded(self) -> bool:
        return self.loading_from_s is not None

    @property
    def elapsed_ms(self) -> float:
        """0 before the end."""
        return self.elapsed_s(self.started_s) * 1e3

    @property
    def reasoning_ms(self) -> float | None:
        """None while the model thinks."""
        if self.thought_from_s is None or self.thought_ended_s is None:
            return None
        return (self.thought_ended_s - self.thought_from_s) * 1e3

    @property
    def limit(self) -> Limit | None:
        """Servers have one finish reason for both limits; none of the answer's own is at 0."""
        if not is_cut_end(self.finish_reason):
            return None
        if self.usage.completion_tokens == 0 and not self.chunks:
            return Limit.CONTEXT
        prompt_tokens = self.usage.prompt_tokens
        if self.context is None or prompt_tokens is None:
            return None if self.max_tokens is None else Limit.MAX_TOKENS
        used_tokens = prompt_tokens + (self.completion_tokens or 0)
        return Limit.CONTEXT if used_tokens >= self.context * _NEARLY_FULL else Limit.MAX_TOKENS

    def saved(self) -> AnswerStats:
        """A field has the name of its source, here or in `usage`."""
        usage = self.usage
        return replace(
            convert(self, AnswerStats, from_attributes=True),
            prompt_tokens=usage.prompt_tokens,
            prompt_tokens_per_second=usage.prompt_tokens_per_second,
            cached_tokens=usage.cached_tokens,
            draft_tokens=usage.draft_tokens,
            accepted_tokens=usage.accepted_tokens,
        )
