"""Events of a running answer: one closed union for screen, command line and tests.

A stream yields events and ends with `StreamFinished`; whatever goes wrong is raised as an `LMChatError`.
"""

from __future__ import annotations

from msgspec import Struct


class RequestQueued(Struct, frozen=True, kw_only=True):
    """Another answer of the same server is still running; this request waits for it (R-25)."""


class RequestSent(Struct, frozen=True, kw_only=True):
    """The request is on its way; from here on the first token is waited for."""


class RetryScheduled(Struct, frozen=True, kw_only=True):
    """A try failed with an error that may pass; the next one follows."""

    attempt: int
    """Number of the try that comes, counted from 1."""
    attempts: int
    """Tries in all."""
    wait_s: float
    """Seconds until then."""
    reason: str
    """One sentence: what went wrong."""


class RequestAdapted(Struct, frozen=True, kw_only=True):
    """The server refused a part of the request, and is asked again in another way (R-13)."""

    note: str
    """One sentence: what it does not take, and what is sent instead."""


class ModelLoading(Struct, frozen=True, kw_only=True):
    """The server is loading the model."""

    fraction: float | None = None
    """How far, 0 to 1; None where the server does not tell."""


class PromptProgress(Struct, frozen=True, kw_only=True):
    """The server is reading the prompt (R-19)."""

    fraction: float
    """How far, 0 to 1, without what came from its cache."""
    processed_tokens: int
    """Tokens read so far, cached ones included."""
    total_tokens: int
    """Tokens of the whole prompt."""


class ModelNamed(Struct, frozen=True, kw_only=True):
    """The server said which model answers (R-40)."""

    model: str
    """Its name."""


class TextDelta(Struct, frozen=True, kw_only=True):
    """More of the answer."""

    text: str
    """Never empty."""
    pieces: int = 1
    """How many pieces of the server it is made of: those that come together become one."""


class ReasoningDelta(Struct, frozen=True, kw_only=True):
    """More of what the model thinks."""

    text: str
    """Never empty."""
    pieces: int = 1
    """How many pieces of the server it is made of: those that come together become one."""


class RefusalDelta(Struct, frozen=True, kw_only=True):
    """More of the words in which the model refuses to answer; they are an answer, told apart."""

    text: str
    """Never empty."""
    pieces: int = 1
    """How many pieces of the server it is made of: those that come together become one."""


class Rethought(Struct, frozen=True, kw_only=True):
    """Text that came so far was thought, or thought was text: a model closed its thought late (R-17)."""

    is_thought: bool = True
    """Whether all text of this stream so far was thought; else all its thought so far was text."""


class ToolCallDelta(Struct, frozen=True, kw_only=True):
    """More of a tool call (R-20)."""

    index: int
    """Which call of this answer."""
    call_id: str = ""
    """Its id, once known."""
    name: str = ""
    """Its name, once known."""
    arguments: str = ""
    """More of its arguments."""


class LifeSign(Struct, frozen=True, kw_only=True):
    """The server sent something that is not a token: a comment, an empty frame."""

    is_token: bool = False
    """Whether it was the first token after all, held back until it is known what it belongs to (R-18)."""


class StreamStalled(Struct, frozen=True, kw_only=True):
    """Nothing came for a while; the stream is still open."""

    silent_s: float
    """Seconds since the last byte."""


class UsageReported(Struct, frozen=True, kw_only=True):
    """Counts of the server; None where it did not tell (R-19)."""

    prompt_tokens: int | None = None
    """Tokens of the prompt."""
    completion_tokens: int | None = None
    """Tokens of the answer."""
    cached_tokens: int | None = None
    """Tokens of the prompt that came from the server's cache."""
    tokens_per_second: float | None = None
    """Speed of the answer."""
    prompt_tokens_per_second: float | None = None
    """Speed of reading the prompt."""


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
