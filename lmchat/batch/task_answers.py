"""Prompts of `batch`, `eval` and `compare`, their answers, and the figures and progress of these.

Each prompt is a `Task`. Answers to `batch` and `eval` become rows of a `RowFile`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat import units
from lmchat.answers.cut_prompts import with_cut_prompt
from lmchat.answers.streamed_answer import StreamedAnswer
from lmchat.errors import LMChatError
from lmchat.servers.events import RequestAdapted, StreamEvent
from lmchat.servers.model import ModelInfo
from lmchat.servers.products import product_named
from lmchat.servers.protocols import ServerClient
from lmchat.servers.request import AnyText, ChatRequest, Sampling, WantedOutput
from lmchat.servers.target import Target
from lmchat.sessions.message import AnswerStats, ChatMessage
from lmchat.terminal.output import Output, failure_detail

FIGURES = ("FIRST TOKEN", "SPEED", "TOKENS", "TIME")  # heads of columns
_KEY_DIGITS = 16  # of a hash: enough to tell runs apart


class Task(Struct, frozen=True, kw_only=True):
    """A prompt for a model, or the error that says why it cannot be sent."""

    head: Mapping[str, Any] = {}
    """The first fields of its row: its number as `index`, and its `id` if it has one."""
    model: ModelInfo
    messages: Sequence[ChatMessage] = ()
    options: Mapping[str, object] = {}  # sampling options by name
    output: WantedOutput = AnyText()
    files: Mapping[str, bytes] = {}  # content of the attached files by their digests
    # Text of the preset that is filled with the last message when the prompt is sent, or empty.
    preset_text: str = ""
    error: LMChatError | None = None

    @property
    def key(self) -> str:
        """A short hash of prompt, model and settings; rows of another run have other keys."""
        texts = [(message.role, message.text) for message in self.messages]
        # `*self.files` adds the digests only. The messages do not contain the preset yet, which is
        # applied when the prompt is sent.
        parts = [texts, self.model.model_id, self.options, repr(self.output), *self.files]
        text = json.dumps([*parts, self.preset_text], sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_DIGITS]


class TaskAnswer(Struct, frozen=True, kw_only=True):
    """An answer that belongs to no session; incomplete if it ended with an error."""

    model: str  # the model that has answered
    reply: str  # the text, a refusal too
    reasoning: str
    is_refusal: bool  # whether the reply has a refusal
    stats: AnswerStats
    error: LMChatError | None

    def row(self, task: Task) -> dict[str, Any]:
        """Return the answer or its error as a row of JSON; times are in milliseconds."""
        head = {**task.head, "key": task.key}
        if self.error is not None:
            return {**head, "error": failure_detail(self.error)}
        stats = self.stats
        completion_tokens = stats.completion_tokens or 0
        return {
            **head,
            "reply": self.reply,
            "reasoning": self.reasoning,
            "finish_reason": stats.finish_reason or None,
            "model": self.model,
            "usage": {
                "prompt_tokens": stats.prompt_tokens,  # None if the server does not report it
                "completion_tokens": completion_tokens,
                "total_tokens": (stats.prompt_tokens or 0) + completion_tokens,
                "estimated": stats.is_estimated or stats.prompt_tokens is None,
            },
            "prompt_cut": stats.is_prompt_cut,
            "ttft_ms": units.rounded(stats.ttft_ms),
            "elapsed_ms": units.rounded(stats.elapsed_ms),
        }


async def answer_to(
    task: Task,
    server: ServerClient,
    show: Callable[[StreamEvent], None] = lambda _: None,
    answer: StreamedAnswer | None = None,
) -> TaskAnswer:
    """Send a prompt and return its answer; call `show` with each event while it arrives.

    The events are read into `answer`. `compare` passes one, whose figures it shows until the end.

    If no seed is set and the server takes one, a seed is drawn, so that the answer can be repeated.
    A task with an error is not sent; its answer has this error.
    """
    model = task.model
    sampling = Sampling().with_options(task.options)
    seed = product_named(model.product).drawn_seed(sampling.options)
    if seed is not None:
        sampling = replace(sampling, seed=seed)
    request = ChatRequest(
        target=Target.of(model),
        messages=tuple(task.messages),
        sampling=sampling,
        output=task.output,
        has_drawn_seed=seed is not None,
        files=task.files,
        is_batch=True,  # at a server of this machine, the limit of requests a minute does not apply
    )
    answer = answer or StreamedAnswer(model.model_id)
    failure = task.error
    if failure is None:
        try:
            await answer.read(server.stream(request), show)
        except LMChatError as error:
            failure = error
    reply = answer.content.text("text", "refusal")
    stats = answer.figures.stats(context=model.context, max_tokens=sampling.max_tokens)
    if failure is None:
        try:
            stats = with_cut_prompt(stats, request, has_reply=bool(reply))
        except LMChatError as error:
            failure = error
    return TaskAnswer(
        model=answer.figures.model,
        reply=reply,
        reasoning=answer.content.text("reasoning"),
        is_refusal=bool(answer.content.text("refusal")),
        stats=stats,  # with both limits, the figures say which one cut an answer short
        error=failure,
    )


def print_remote_note(output: Output, event: StreamEvent) -> None:
    """Print the note that a prompt leaves this machine; nothing for other events."""
    if isinstance(event, RequestAdapted) and event.is_remote:
        output.note(f"lmchat: {event.note}")


class Progress:
    """Progress of answers on one line of the terminal: done, failed, speed, time left."""

    def __init__(self, output: Output, total: int | None) -> None:
        self._output = output
        self._total = total  # None: not known
        self._started_s = monotonic()
        # answers so far, those of them that have failed, and tokens of all
        self.done = self.failed = self._tokens = 0
        self.done_before = 0  # tasks that an earlier run has done; these are not part of `done`

    def count(self, *, is_failed: bool, tokens: int | None) -> None:
        """Count an answer and its tokens, and show the progress."""
        self.done += 1
        if is_failed:
            self.failed += 1
        self._tokens += tokens or 0
        elapsed_s = monotonic() - self._started_s
        words = f"{self.done} done, {self.failed} failed, {self._tokens / elapsed_s:.0f} tok/s"
        if self._total is not None:
            left_s = elapsed_s / self.done * (self._total - self.done)
            words += f", {units.elapsed(left_s)} left"
        self._output.show_progress(words)


def rounded_median(figures: Sequence[float | None]) -> float | None:
    """Return the median of the known figures, rounded; None if no figure is known."""
    known = [figure for figure in figures if figure is not None]
    return units.rounded(median(known)) if known else None


def figure_cells(
    ttft_ms: float | None,
    tokens_per_second: float | None,
    tokens: float | None,
    elapsed_ms: float | None,
) -> tuple[str, ...]:
    """Return the cells of a table below the heads `FIGURES`: times in seconds, "" for None."""
    return (
        "" if ttft_ms is None else f"{ttft_ms / 1e3:.2f} s",
        "" if tokens_per_second is None else f"{tokens_per_second:.1f} tok/s",
        "" if tokens is None else f"{tokens:.0f}",
        "" if elapsed_ms is None else f"{elapsed_ms / 1e3:.1f} s",
    )
