"""Many prompts, asked several at once: jobs, their answers as records, progress and stats.

A *record* is the answer to a `Job` as JSON: first the `head` of the job with its `index`, then its
`key`, then what came, or an `error`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import (
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from statistics import median
from time import monotonic
from typing import Any

from msgspec import Struct

from lmchat.api import (
    Answer,
    Client,
    ModelInfo,
    Repetition,
    RequestAdapted,
    SchemaOutput,
    Show,
    StreamEvent,
)
from lmchat.app.cli.turn_printer import usage_json
from lmchat.app.terminal.output import Output, failure_detail
from lmchat.base import units
from lmchat.base.errors import LMChatError
from lmchat.base.processes.background import run_abandonable
from lmchat.core.config.settings import Stuck
from lmchat.core.sessions.message import ChatMessage, FilePart, Role, prompt_message, text_message

STATS = ("FIRST TOKEN", "SPEED", "TOKENS", "TIME")  # heads of columns
_KEY_DIGITS = 16  # of a hash: enough to tell runs apart

Record = Mapping[str, Any]
Options = Callable[[Mapping[str, object], str], Mapping[str, object]]
"""Returns the sampling options of a job, of its own ones and the name of its model."""


class Job(Struct, frozen=True, kw_only=True):
    """A prompt for a model, or the error that says why it cannot be sent."""

    head: Record = {}  # its number as `index`; `id` and `run` if it has them
    model: ModelInfo
    messages: Sequence[ChatMessage] = ()
    options: Mapping[str, object] = {}  # sampling options by name
    wanted: SchemaOutput | None = None
    files: Mapping[str, bytes] = {}  # contents of attached files, by digest
    preset_text: str = ""  # of the preset that the last message fills when it is sent
    error: LMChatError | None = None

    @property
    def key(self) -> str:
        """A short hash of prompt, model and settings, which tells this run's records from others.

        It has the preset before it is filled, so that it is the same on another day.
        """
        texts = [(message.role, message.text) for message in self.messages]
        # files of earlier versions have the words of a plain text
        output = repr(self.wanted.output) if self.wanted else "AnyText()"
        parts = [texts, self.model.model_id, self.options, output, *self.files]
        text = json.dumps([*parts, self.preset_text], sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_DIGITS]


async def answer_to(job: Job, client: Client, show: Show, *, stuck: Stuck) -> Answer:
    """Ask a job, or raise its error; an incomplete answer has its own."""
    if job.error is not None:
        raise job.error
    return await client.chat(
        job.messages,
        model=job.model,
        show=show,
        may_fail=True,
        wanted=job.wanted,
        files=job.files,
        stuck=stuck,
        is_batch=True,
        more=job.options,
    )


def record_of(job: Job, answer: Answer | LMChatError) -> dict[str, Any]:
    """Return the record of an answer, or of why there is none."""
    head = {**job.head, "key": job.key}
    if isinstance(answer, LMChatError):
        return {**head, "error": failure_detail(answer)}
    if answer.is_stuck:
        head["stuck"] = True
    if answer.error is not None:
        return {**head, "error": failure_detail(answer.error)}
    stats = answer.stats
    return {
        **head,
        "reply": answer.text,
        "reasoning": answer.reasoning,
        "finish_reason": stats.finish_reason or None,
        "model": answer.model,
        **({"asked_model": stats.asked} if stats.asked else {}),
        "usage": usage_json(stats),
        "prompt_cut": stats.is_prompt_cut,
        "ttft_ms": units.rounded(stats.ttft_ms),
        "elapsed_ms": units.rounded(stats.elapsed_ms),
    }


def names_in(record: Record, asked: str) -> dict[str, str]:
    """Return who has answered, and then the model that was asked, if that is another one."""
    names = {name: record[name] for name in ("model", "asked_model") if name in record}
    return names or {"model": asked}


def prompt_messages(
    text: str, system_prompt: str, files: Sequence[FilePart] = ()
) -> tuple[ChatMessage, ...]:
    """Return the messages of a new session: the system prompt, if there is one, and the prompt."""
    system = (text_message(Role.SYSTEM, system_prompt),) if system_prompt else ()
    return (*system, prompt_message(text, files))


def print_note(output: Output, head: Record, event: StreamEvent | Repetition) -> None:
    """`head` is that of the job."""
    if isinstance(event, Repetition):
        output.note(f"lmchat: {head.get('id', head['index'])}: {event.text}")
    elif isinstance(event, RequestAdapted):
        output.note(f"lmchat: {event.note}")


class Progress:
    """Progress of answers on one line of the terminal: done, failed, speed, time left."""

    def __init__(self, output: Output, total: int | None) -> None:
        """`total` is the number of jobs that an earlier run has not done; None: unknown."""
        self._output = output
        self._total = total
        self._started_s = monotonic()
        self.done = self.failed = self.without_text = self._tokens = 0

    def count(self, record: Record, *, is_failed: bool) -> None:
        self.done += 1
        self.failed += is_failed
        self.without_text += not (is_failed or record["reply"])
        self._tokens += record.get("usage", {}).get("completion_tokens", 0)
        elapsed_s = monotonic() - self._started_s
        speed = self._tokens / (elapsed_s or 1e-3)  # 0 s: the clock of Windows has steps of 16 ms
        text = f"{self.done} done, {self.failed} failed, {speed:.0f} tok/s"
        if self._total is not None:
            left_s = elapsed_s / self.done * (self._total - self.done)
            text += f", {units.elapsed(left_s)} left"
        self._output.show_progress(text)


async def run(
    jobs: Iterator[Job], answer: Callable[[Job], Awaitable[None]], *, at_once: int = 1
) -> None:
    """Answer all jobs; a job is not read before it can be sent.

    Raises the first unexpected error, after which the other answers are cancelled.
    """
    reading = asyncio.Lock()  # a generator can have only one caller at a time

    async def work() -> None:
        while True:
            async with reading:
                job = await run_abandonable(lambda: next(jobs, None))
            if job is None:
                return
            await answer(job)

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
