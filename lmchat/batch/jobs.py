"""Tasks side by side: the answer to each as a row, and progress."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeVar

from msgspec.structs import replace

from lmchat.batch.tasks import Task
from lmchat.chat.once import SingleAnswer, answer_of, single_request
from lmchat.chat.ports import ServerClient
from lmchat.errors import LMChatError
from lmchat.servers.events import StreamEvent
from lmchat.terminal.output import failure_detail

Job = TypeVar("Job")


async def side_by_side(
    jobs: AsyncIterator[Job], work: Callable[[Job], Awaitable[None]], *, count: int
) -> None:
    """Do the work of all jobs, `count` at once; a job is not taken before it can begin.

    If a job fails, the others are cancelled, and its error is raised.
    """
    free = asyncio.Semaphore(count)

    async def do(job: Job) -> None:
        try:
            await work(job)
        finally:
            free.release()

    try:
        async with asyncio.TaskGroup() as group:
            await free.acquire()
            async for job in jobs:
                group.create_task(do(job))
                await free.acquire()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def answer_to(
    task: Task,
    server: ServerClient,
    show: Callable[[StreamEvent], None] = lambda _: None,
) -> SingleAnswer:
    """Send the request of a task and return its answer, with the error of either."""
    try:
        if task.error is not None:
            raise task.error
        request = single_request(
            task.model,
            task.messages,
            dict(task.options),
            output=task.output,
        )
    except LMChatError as error:
        return SingleAnswer(model=task.model.model_id, error=error)
    # `is_batch`: at a server of this machine, the limit of requests a minute does not apply
    return await answer_of(
        server, replace(request, files=task.files, is_batch=True), task.model, show
    )


def row_of(task: Task, answer: SingleAnswer) -> dict[str, Any]:
    """Return the row of a task, which has its answer or the error."""
    if answer.error is not None:
        return {**task.head, "error": failure_detail(answer.error)}
    return {
        **task.head,
        "reply": answer.reply,
        "reasoning": answer.reasoning,
        "finish_reason": answer.stats.finish_reason or None,
        "model": answer.model,
        **answer.figures,
    }


class JobProgress:
    """Progress of jobs on one line of stderr: done, failed, tokens a second, time left.

    It is shown only if stderr is a terminal that can overwrite a line.
    """

    def __init__(self, total: int | None, *, prints_rows: bool) -> None:
        """With `prints_rows`, nothing is shown if stdout is a terminal: rows show the progress.

        `total` is None if the jobs come from a pipe.
        """
        from rich.console import Console  # noqa: PLC0415 - a pipe needs no bar
        from rich.progress import (  # noqa: PLC0415 - see above
            BarColumn,
            MofNCompleteColumn,
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
            MofNCompleteColumn(" of "),
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
