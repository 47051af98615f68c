"""What commands with many prompts share: lines of a file, single answers side by side, progress."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from statistics import median
from typing import BinaryIO, Self, TypeVar

from msgspec import Struct

from lmchat.servers.model import ModelInfo
from lmchat.servers.products import product_named
from lmchat.terminal.output import rounded

MOST_JOBS = 8  # at once where `--jobs` is not given, however many slots a server has
_READ_BYTES = 64 * 1024

Job = TypeVar("Job")


class NumberedLine(Struct, frozen=True):
    """A line of a file."""

    number: int  # from 1; blank lines count, too
    data: bytes | None  # without its line end; None if it is too long


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
