"""Many prompts, asked several at once: jobs, their answers as records, progress and stats.

A *record* is the answer to a `Job` as JSON: first the `head` of the job with its `index`, then its
`key`, then what came, or an `error`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager, aclosing
from statistics import median
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat import units
from lmchat.answers.cut_prompts import with_cut_prompt
from lmchat.answers.live_stats import usage_json
from lmchat.answers.repetition import Repetition
from lmchat.answers.streamed_answer import StreamedAnswer
from lmchat.chat.followers import AnswerNow, RepetitionFollower
from lmchat.config.settings import Stuck
from lmchat.errors import LMChatError
from lmchat.processes.background import run_abandonable
from lmchat.servers.events import RequestAdapted, StreamEvent
from lmchat.servers.model import ModelInfo
from lmchat.servers.products import product_named
from lmchat.servers.protocols import ServerClient
from lmchat.servers.request import AnyText, ChatRequest, OutputFormat, Sampling
from lmchat.servers.target import Target
from lmchat.sessions.message import AnswerStats, ChatMessage, is_cut_end
from lmchat.terminal.output import Output, failure_detail

STATS = ("FIRST TOKEN", "SPEED", "TOKENS", "TIME")  # heads of columns
_KEY_DIGITS = 16  # of a hash: enough to tell runs apart

Record = Mapping[str, Any]
Show = Callable[[StreamEvent | Repetition], None]


class Job(Struct, frozen=True, kw_only=True):
    """A prompt for a model, or the error that says why it cannot be sent."""

    head: Record = {}  # its number as `index`; `id` and `run` if it has them
    model: ModelInfo
    messages: Sequence[ChatMessage] = ()
    options: Mapping[str, object] = {}  # sampling options by name
    output: OutputFormat = AnyText()
    files: Mapping[str, bytes] = {}  # contents of attached files, by digest
    preset_text: str = ""  # of the preset that the last message fills when it is sent
    error: LMChatError | None = None

    @property
    def key(self) -> str:
        """A short hash of prompt, model and settings, which tells this run's records from others.

        It has the preset before it is filled, so that it is the same on another day.
        """
        texts = [(message.role, message.text) for message in self.messages]
        parts = [texts, self.model.model_id, self.options, repr(self.output), *self.files]
        text = json.dumps([*parts, self.preset_text], sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_DIGITS]


class JobAnswer(Struct, frozen=True, kw_only=True):
    """An answer that belongs to no session; incomplete if it ended with an error."""

    model: str  # that has answered
    reply: str  # the text, a refusal too
    reasoning: str
    is_refusal: bool  # whether the reply has a refusal
    stats: AnswerStats
    is_stuck: bool  # whether lmchat has ended it, or its thought, as the model repeated itself
    error: LMChatError | None

    def record(self, job: Job) -> dict[str, Any]:
        head = {**job.head, "key": job.key}
        if self.is_stuck:
            head["stuck"] = True
        if self.error is not None:
            return {**head, "error": failure_detail(self.error)}
        stats = self.stats
        return {
            **head,
            "reply": self.reply,
            "reasoning": self.reasoning,
            "finish_reason": stats.finish_reason or None,
            "model": self.model,
            "usage": usage_json(stats),
            "prompt_cut": stats.is_prompt_cut,
            "ttft_ms": units.rounded(stats.ttft_ms),
            "elapsed_ms": units.rounded(stats.elapsed_ms),
        }


async def answer_to(
    job: Job,
    server: ServerClient,
    show: Show,
    streamed: StreamedAnswer | None = None,
    *,
    stuck: Stuck,
) -> JobAnswer:
    """Send a prompt and read its answer into `streamed`; call `show` with each event.

    If no seed is set and the server takes one, a seed is drawn, so that the answer can be repeated.
    A job with an error is not sent; its answer has this error.
    """
    model = job.model
    sampling = Sampling().with_options(job.options)
    seed = product_named(model.product).drawn_seed(sampling.options)
    if seed is not None:
        sampling = replace(sampling, seed=seed)
    request = ChatRequest(
        target=Target.of(model),
        messages=tuple(job.messages),
        sampling=sampling,
        output=job.output,
        has_drawn_seed=seed is not None,
        files=job.files,
        is_batch=True,  # at a server of this machine, the limit of requests a minute does not apply
    )
    streamed = streamed or StreamedAnswer(model.model_id)
    failure = job.error
    if failure is None:
        try:
            await streamed.read(_events(server, request, streamed, stuck, show), show)
        except LMChatError as error:
            failure = error
    reply = streamed.content.text("text", "refusal")
    # they show which of both limits cut the answer short
    streamed.stats.context, streamed.stats.max_tokens = model.context, sampling.max_tokens
    stats = streamed.stats.saved()
    if failure is None:
        try:
            stats = with_cut_prompt(stats, request, has_reply=bool(reply))
        except LMChatError as error:
            failure = error
    return JobAnswer(
        model=streamed.stats.model,
        reply=reply,
        reasoning=streamed.content.text("reasoning"),
        is_refusal=bool(streamed.content.text("refusal")),
        stats=stats,
        is_stuck=streamed.is_stuck,
        error=failure,
    )


async def _events(
    server: ServerClient,
    request: ChatRequest,
    streamed: StreamedAnswer,
    stuck: Stuck,
    show: Show,
) -> AsyncGenerator[StreamEvent, None]:
    """Yield the events of an answer; with "act", end its thought, once, or else the answer."""
    is_stopped = asyncio.Event()
    answer_now = AnswerNow(server, request.target, streamed, show)
    repetition = RepetitionFollower(stuck, streamed, answer_now, stop=is_stopped.set, report=show)
    async with aclosing(server.stream(request)) as events:
        async for event in events:
            yield event
            await answer_now.add(event)
            await repetition.add(event)
            if is_stopped.is_set():
                return
    if is_cut_end(streamed.stats.finish_reason) and (told := repetition.at_cut_end()):
        show(told)


def print_note(output: Output, job: Job, event: StreamEvent | Repetition) -> None:
    if isinstance(event, Repetition):
        name = job.head.get("id", job.head.get("index"))
        output.note(f"lmchat: {name}: {event.text}")
    else:
        print_remote_note(output, event)


def print_remote_note(output: Output, event: StreamEvent) -> None:
    if isinstance(event, RequestAdapted) and event.is_remote:
        output.note(f"lmchat: {event.note}")


class Records(AbstractContextManager[None]):
    """Records that nobody keeps."""

    def __exit__(self, error: object, *_: object) -> None:
        pass

    def is_done(self, _job: Job) -> bool:
        return False

    def finished(self) -> Iterable[Record]:
        """Return the records of an earlier run; to be read before the first `add`."""
        return ()

    async def add(self, record: Record) -> None:
        """Keep a record."""


class Progress:
    """Progress of answers on one line of the terminal: done, failed, speed, time left."""

    def __init__(self, output: Output, total: int | None) -> None:
        """`total` is the number of jobs that an earlier run has not done; None: unknown."""
        self._output = output
        self._total = total
        self._started_s = monotonic()
        self.done = self.failed = self._tokens = 0
        self.done_before = 0  # by an earlier run; not part of `done`

    def count(self, record: Record, *, is_failed: bool) -> None:
        self.done += 1
        self.failed += is_failed
        self._tokens += record.get("usage", {}).get("completion_tokens", 0)
        elapsed_s = monotonic() - self._started_s
        speed = self._tokens / (elapsed_s or 1e-3)  # 0 s: the clock of Windows has steps of 16 ms
        text = f"{self.done} done, {self.failed} failed, {speed:.0f} tok/s"
        if self._total is not None:
            left_s = elapsed_s / self.done * (self._total - self.done)
            text += f", {units.elapsed(left_s)} left"
        self._output.show_progress(text)


async def run(
    jobs: Iterator[Job],
    ask: Callable[[Job], Awaitable[Record]],
    fails: Callable[[Job, Record], bool],
    *,
    records: Records,
    progress: Progress,
    at_once: int = 1,
) -> None:
    """Ask each job that `records` does not have; a job is not read before it can be sent.

    `fails` gets each new record once it is kept, and returns whether it counts as failed. Raises
    the first unexpected error, after which the other answers are cancelled.
    """
    reading = asyncio.Lock()  # a generator can have only one caller at a time

    async def work() -> None:
        while True:
            async with reading:
                job = await run_abandonable(lambda: next(jobs, None))
            if job is None:
                return
            if records.is_done(job):
                progress.done_before += 1
                continue
            record = await ask(job)
            await records.add(record)
            progress.count(record, is_failed=fails(job, record))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def rounded_median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return units.rounded(median(known)) if known else None


def stats_cells(
    ttft_ms: float | None,
    tokens_per_second: float | None,
    tokens: float | None,
    elapsed_ms: float | None,
) -> tuple[str, ...]:
    """Return the cells below `STATS`: times in seconds."""
    return (
        "" if ttft_ms is None else f"{ttft_ms / 1e3:.2f} s",
        "" if tokens_per_second is None else f"{tokens_per_second:.1f} tok/s",
        "" if tokens is None else f"{tokens:.0f}",
        "" if elapsed_ms is None else f"{elapsed_ms / 1e3:.1f} s",
    )
