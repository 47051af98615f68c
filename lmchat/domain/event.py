"""Events of a running answer; the last is `StreamFinished`, and errors are raised as `LMChatError`."""

from __future__ import annotations

from msgspec import Struct


class RequestQueued(Struct, frozen=True, kw_only=True):
    """The request waits for another answer of the same server (R-25)."""


class RequestSent(Struct, frozen=True, kw_only=True):
    """The request was sent; the first token comes next."""


class RetryScheduled(Struct, frozen=True, kw_only=True):
    """A try failed; the next one follows."""

    attempt: int
    """Number of the next try, counted from 1."""
    attempts: int
    wait_s: float
    reason: str


class RequestAdapted(Struct, frozen=True, kw_only=True):
    """The request was changed as the server refused a part of it (R-13)."""

    note: str


class ModelLoading(Struct, frozen=True, kw_only=True):
    """The server is loading the model."""

    fraction: float | None = None


class PromptProgress(Struct, frozen=True, kw_only=True):
    """The server is reading the prompt (R-19)."""

    fraction: float
    """0 to 1, without what came from its cache."""
    processed_tokens: int
    """Tokens read so far, cached ones included."""
    total_tokens: int


class ModelNamed(Struct, frozen=True, kw_only=True):
    """The server said which model answers (R-40)."""

    model: str


class TextDelta(Struct, frozen=True, kw_only=True):
    """More of the answer."""

    text: str
    pieces: int = 1
    """Pieces of the server that were joined in it."""


class ReasoningDelta(Struct, frozen=True, kw_only=True):
    """More of what the model thinks."""

    text: str
    pieces: int = 1


class RefusalDelta(Struct, frozen=True, kw_only=True):
    """More of the words in which the model refuses to answer."""

    text: str
    pieces: int = 1


class Rethought(Struct, frozen=True, kw_only=True):
    """The model closed its thought late (R-17)."""

    is_thought: bool = True
    """Whether all text so far was thought; else all thought so far was text."""


class ToolCallDelta(Struct, frozen=True, kw_only=True):
    """More of a tool call (R-20)."""

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class LifeSign(Struct, frozen=True, kw_only=True):
    """The server sent something that is not a token."""

    is_token: bool = False
    """Whether it was the first token, held back until its kind is known (R-18)."""


class StreamStalled(Struct, frozen=True, kw_only=True):
    """Nothing came for a while; the stream is still open."""

    silent_s: float
    """Seconds since the last byte."""


class UsageReported(Struct, frozen=True, kw_only=True):
    """Counts of the server; None where it did not tell (R-19)."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    """Tokens of the prompt that came from the server's cache."""
    tokens_per_second: float | None = None
    prompt_tokens_per_second: float | None = None


class StreamFinished(Struct, frozen=True, kw_only=True):
    """The answer is complete."""

    reason: str
    """The server's word (`stop`, `length`, …), empty where it gave none."""


StreamEvent = (
    RequestQueued
    | RequestSent
    | RetryScheduled
    | RequestAdapted
    | ModelLoading
    | PromptProgress
    | ModelNamed
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | Rethought
    | ToolCallDelta
    | LifeSign
    | StreamStalled
    | UsageReported
    | StreamFinished
)
