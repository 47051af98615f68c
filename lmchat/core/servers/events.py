"""Events of a running answer; the last is `StreamFinished`. Errors are raised as `LMChatError`.

Servers send an answer in chunks of about a token each. A delta is the text of one chunk, or of
several that came together.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from lmchat.base.units import SIGNS, percent, size_text
from lmchat.core.sessions.tokens import TokenProbabilities

_BAR_CELLS = 14


class RequestQueued(Struct, frozen=True, kw_only=True):
    """The request waits until the server has a free slot (R-25)."""


class RequestSent(Struct, frozen=True, kw_only=True):
    """The request was sent; the first token comes next."""

    sampling: Mapping[str, object] = field(default_factory=dict)
    """Names and values of the sampling options in the request."""


class RetryScheduled(Struct, frozen=True, kw_only=True):
    """An attempt failed; the next one follows."""

    attempt: int
    """Number of the next attempt, counted from 1."""
    attempts: int
    """Number of attempts after which the request fails."""
    wait_s: float
    """Seconds until the next attempt."""
    reason: str


class RequestAdapted(Struct, frozen=True, kw_only=True):
    """The request was changed: the server rejected part of it, or is known not to take it (R-13).

    Also sent if a part of the answer could not be read, if the server sent words in place of
    chunks, or if it has cut the prompt.
    """

    note: str
    """What was changed, said, lost or cut, for the user."""
    is_part_missing: bool = False
    """Whether a part of the answer may be missing."""


class ModelLoading(Struct, frozen=True, kw_only=True):
    """The server is loading the model."""

    fraction: float | None = None
    """0 to 1; None if the server does not say."""
    is_asleep: bool = False
    """Whether the server had put the model to sleep, as a check before the request has found."""
    wait_s: float | None = None
    """Seconds until the server is asked again, if it has named a time."""


class PullProgress(Struct, frozen=True, kw_only=True):
    """How far the download of a model is; all in bytes."""

    done_bytes: int = 0
    total_bytes: int | None = None
    free_bytes: int | None = None  # on the disk of the server

    @property
    def text(self) -> str:
        if self.total_bytes is None:
            return "looking up its size …"
        share = min(self.done_bytes / max(self.total_bytes, 1), 1.0)
        used = int(share * _BAR_CELLS)
        bar = SIGNS.used * used + SIGNS.rule * (_BAR_CELLS - used)
        sizes = f"{size_text(self.done_bytes)} of {size_text(self.total_bytes)}"
        free = "" if self.free_bytes is None else f", {size_text(self.free_bytes)} free"
        return f"{bar} {percent(share)}  {sizes}{free}"


class PromptProgress(Struct, frozen=True, kw_only=True):
    """The server is reading the prompt (R-19)."""

    fraction: float
    """0 to 1, without tokens from the server's cache."""
    processed_tokens: int
    """Tokens read so far, cached ones included."""
    total_tokens: int


class ModelNamed(Struct, frozen=True, kw_only=True):
    """The server said which model answers (R-40)."""

    model: str
    build: str = ""
    """The `system_fingerprint` of the answer; with some products, it is the build of the server."""
    answer_id: str = ""
    """The server's own name of this answer; empty if it gave none."""
    is_other: bool = False
    """Whether it is another model of the server than the one that was asked for."""


class TextDelta(Struct, frozen=True, kw_only=True):
    """The next part of the answer."""

    text: str
    chunks: int = 1
    """Number of chunks of the server that it joins; 0: the template of the model has it."""


class ReasoningDelta(Struct, frozen=True, kw_only=True):
    """The next part of the reasoning."""

    text: str
    chunks: int = 1
    """As in `TextDelta`."""


class RefusalDelta(Struct, frozen=True, kw_only=True):
    """The next part of a refusal to answer."""

    text: str
    chunks: int = 1
    """Number of chunks of the server that it joins."""


class Rethought(Struct, frozen=True, kw_only=True):
    """All text of this answer so far was reasoning (R-17)."""


class ToolCallDelta(Struct, frozen=True, kw_only=True):
    """The next part of a tool call (R-20)."""

    index: int
    """Number of the call within the answer, from 0."""
    call_id: str = ""  # only in the first event of a call that has it; so is `name`
    name: str = ""
    arguments: str = ""
    """Next characters of the arguments, which are JSON when complete."""
    others: str = ""
    """JSON object of further fields that the server gave the call."""


class TokensChosen(Struct, frozen=True, kw_only=True):
    """Probabilities of the tokens whose text came last, if they were asked for."""

    choices: tuple[TokenProbabilities, ...]


class LifeSign(Struct, frozen=True, kw_only=True):
    """The server sent data, but no text to show yet."""

    is_token: bool = False
    """Whether the data was a token.

    Its text is shown when it is known whether it is an answer or a thought (R-18).
    """


class StreamStalled(Struct, frozen=True, kw_only=True):
    """The server has sent nothing for a while; the connection is still open."""

    silent_s: float
    """Seconds since the last byte."""


class UsageReported(Struct, frozen=True, kw_only=True):
    """Token counts from the server; None for each that it did not report (R-19)."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    """Tokens of the prompt that came from the server's cache."""
    tokens_per_second: float | None = None
    prompt_tokens_per_second: float | None = None
    thought_tokens: int | None = None
    """How many of `completion_tokens` belong to the thought."""
    draft_tokens: int | None = None
    """Tokens that a draft of the server proposed (speculation); None if it made no draft."""
    accepted_tokens: int | None = None
    """How many of `draft_tokens` the model accepted."""


class StreamFinished(Struct, frozen=True, kw_only=True):
    """The answer is complete."""

    reason: str
    """As the server said it (`stop`, `length`, …); empty if it did not."""


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
    | TokensChosen
    | LifeSign
    | StreamStalled
    | UsageReported
    | StreamFinished
)
