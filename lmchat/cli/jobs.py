"""What commands with many prompts share: lines of a file, single answers side by side, progress."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from statistics import median
from typing import Any, BinaryIO, Self, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.ports import ServerClient
from lmchat.errors import LMChatError
from lmchat.servers.answer import WholeAnswer
from lmchat.servers.events import StreamEvent
from lmchat.servers.model import ModelInfo
from lmchat.servers.products import drawn_seed, product_named
from lmchat.servers.request import AnyText, ChatRequest, Sampling, WantedOutput
from lmchat.sessions.message import AnswerStats, ChatMessage
from lmchat.terminal.output import rounded

MOST_JOBS = 8  # at once where `--jobs` is not given, however many slots a server has
_READ_BYTES = 64 * 1024

Job = TypeVar("Job")


class NumberedLine(Struct, frozen=True):
    """A line of a file."""

    number: int  # from 1; blank lines count, too
    data: bytes | None  # without its line end; None if it is too long


class SingleAnswer(Struct, frozen=True, kw_only=True):
    """An answer to messages that belong to no session; incomplete if it ended with an error."""

    model: str  # that has answered, as the server names it
    reply: str = ""
    reasoning: str = ""
    stats: AnswerStats = AnswerStats()
    is_refusal: bool = False
    error: LMChatError | None = None

    @property
    def usage(self) -> dict[str, int | bool | None]:
        """Token counts as `--json` prints them; `prompt_tokens` is None if not reported."""
        prompt_tokens = self.stats.prompt_tokens
        completion_tokens = self.stats.completion_tokens or 0
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": (prompt_tokens or 0) + completion_tokens,
            "estimated": self.stats.is_estimated or prompt_tokens is None,
        }

    @property
    def figures(self) -> dict[str, Any]:
        """Usage and times in milliseconds, by their names in JSON."""
        return {
            "usage": self.usage,
            "ttft_ms": rounded(self.stats.ttft_ms),
            "elapsed_ms": rounded(self.stats.elapsed_ms),
        }


def lines_of(file: BinaryIO, *, max_bytes: int) -> Iterator[NumberedLine]:
    """Yield the lines of a file that are not blank.

    A line of more than `max_bytes` is yielded without its data, and never held in memory whole.
    """
    number = 0
    while data := file.readline(max_bytes + 1):  # at most the beginning of a line that is too long
        number += 1
        is_too_long = len(data) > max_bytes and not data.endswith(b"\n")
        if is_too_long:
            _skip_rest_of_line(file)
            yield NumberedLine(number, None)
        elif data.strip():
            yield NumberedLine(number, data.rstrip(b"\r\n"))


def _skip_rest_of_line(file: BinaryIO) -> None:
    while piece := file.readline(_READ_BYTES):
        if piece.endswith(b"\n"):
            return


def single_request(
    model: ModelInfo,
    messages: Sequence[ChatMessage],
    options: dict[str, object],
    *,
    keep_loaded_s: int | None,
    output: WantedOutput | None = None,
) -> ChatRequest:
    """Return a request for an answer that belongs to no session, with these sampling options.

    If no seed is set and the server takes one, a seed is drawn, so that the answer can be repeated.
    """
    sampling = Sampling(keep_loaded_s=keep_loaded_s).with_options(options)
    seed = drawn_seed(model.product, sampling.options)
    if seed is not None:
        sampling = replace(sampling, seed=seed)
    return ChatRequest(
        endpoint=model.endpoint,
        product=model.product,
        model=model.model_id,
        messages=tuple(messages),
        sampling=sampling,
        output=output or AnyText(),
        has_drawn_seed=seed is not None,
    )


async def answer_of(
    backend: ServerClient,
    request: ChatRequest,
    model: ModelInfo,
    show: Callable[[StreamEvent], None] = lambda _: None,
) -> SingleAnswer:
    """Send a request and return its answer, with the error that has ended it, if any.

    `show` is called with each event while the answer arrives.
    """
    answer = WholeAnswer(request.model)
    failure = None
    try:
        await answer.read(backend.stream(request), show)
    except LMChatError as error:
        failure = error
    refusal = answer.growing.text("refusal")
    return SingleAnswer(
        reply=answer.growing.text("text", "refusal"),
        reasoning=answer.growing.text("reasoning"),
        model=answer.turn.model,
        stats=answer.turn.stats(context=model.context, max_tokens=request.sampling.max_tokens),
        is_refusal=bool(refusal),
        error=failure,
    )


def default_jobs(model: ModelInfo) -> int:
    """Return how many requests a model is sent at once: as many as it has slots, at most 8."""
    return min(model.slots or product_named(model.product).slots, MOST_JOBS)


async def side_by_side(
    jobs: Sequence[Job], work: Callable[[Job], Awaitable[None]], *, count: int
) -> None:
    """Do the work of all jobs, `count` at once; each next one begins when another has ended.

    If a job fails, the others are cancelled, and its error is raised.
    """
    remaining_jobs = iter(jobs)  # all workers share it, so each job is taken by one of them

    async def work_off() -> None:
        for job in remaining_jobs:
            await work(job)

    if not jobs:  # `asyncio.wait` takes at least one task
        return
    # more workers than jobs would do nothing but take memory, all of it if the user names a billion
    workers = [asyncio.create_task(work_off()) for _ in range(min(count, len(jobs)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)


class JobProgress:
    """Progress of jobs on one line of stderr: done, failed, tokens a second, time left.

    It is shown only if stderr is a terminal that can overwrite a line.
    """

    def __init__(self, total: int, *, prints_rows: bool) -> None:
        """With `prints_rows`, nothing is shown if stdout is a terminal: rows show the progress."""
        from rich.console import Console  # noqa: PLC0415 - a pipe needs no bar
        from rich.progress import (  # noqa: PLC0415 - see above
            BarColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        has_rows = prints_rows and sys.stdout is not None and sys.stdout.isatty()
        self._failed = 0
        self._tokens = 0
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.completed} of {task.total}"),
            TextColumn("{task.fields[failed]} failed"),
            TextColumn("{task.fields[speed]:.0f} tok/s"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=has_rows or not console.is_terminal or console.is_dumb_terminal,
        )
        self._task = self._bar.add_task("", total=total, failed=0, speed=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def count(self, *, is_failed: bool, tokens: int = 0) -> None:
        """Count a job that has ended, with the tokens of its answer."""
        self._failed += is_failed
        self._tokens += tokens
        elapsed_s = self._bar.tasks[0].elapsed or 0.0
        speed = self._tokens / elapsed_s if elapsed_s else 0.0
        self._bar.update(self._task, advance=1, failed=self._failed, speed=speed)


def rounded_median(figures: Sequence[float | None]) -> float | None:
    """Return the median of the known figures, rounded; None if no figure is known."""
    known = [figure for figure in figures if figure is not None]
    return rounded(median(known)) if known else None
