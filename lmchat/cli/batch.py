"""`lmchat batch`: many prompts from a file, each with its answer as one row of JSON.

A line of the input has a prompt; a row of the output has the answer to one line. The rows of an
output file say what is done: the same command again does what is missing or has failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lmchat.chat.once import SingleAnswer, answer_of
from lmchat.cli.batch_rows import RowFile, RowPrinter
from lmchat.cli.batch_tasks import BatchTask, TaskReader, read_lines
from lmchat.cli.context import Context
from lmchat.cli.extract import wanted_value
from lmchat.cli.jobs import JobProgress, side_by_side
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.target import find_target
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.errors import LMChatError, WrongUse
from lmchat.files.disk import expanded_path
from lmchat.terminal.output import failure_detail
from lmchat.tools.json_schema import WantedValue
from lmchat.units import plural


async def batch(context: Context) -> int:
    """Answer all lines and print or write a row for each; return 1 if a line failed, else 0.

    Raises an error before anything is sent if the input, the output file or an option cannot be
    used, or if there is no server.
    """
    options = context.options
    layers = sampling_layers(context)
    schema = wanted_value(options)
    output_path = expanded_path(options.output) if options.output else None
    input_path = expanded_path(options.file) if options.file not in ("", "-") else None
    if output_path and input_path and _is_same_file(input_path, output_path):
        raise WrongUse("The output file is the input file.", hint="Name another file with -o.")
    lines = await read_lines(input_path)

    async with open_runtime(context, is_saved=False) as runtime:
        target = await find_target(
            runtime.backend, runtime.settings, runtime.state, context.output.note
        )
        reader = await TaskReader.create(context, runtime, layers, target, schema)
        tasks = [await reader.task_of(line) for line in lines]
        done: set[int] = set()
        rows: RowFile | RowPrinter = RowPrinter(context.output)
        with ExitStack() as stack:
            if output_path:
                rows = RowFile(output_path)
                stack.callback(rows.close)
                done = rows.keep_done(tasks, is_forced=options.force)
            tasks = [task for task in tasks if task.number not in done]
            failed = await _answer_all(runtime, tasks, rows, schema, options.jobs or reader.jobs)
    words = f"{plural(len(lines), 'line')}: {len(done)} done before, "
    context.output.note(f"lmchat: {words}{len(tasks) - failed} answered, {failed} failed.")
    return 1 if failed else 0


async def _answer_all(
    runtime: Runtime,
    tasks: Sequence[BatchTask],
    rows: RowFile | RowPrinter,
    schema: WantedValue | None,
    jobs: int,
) -> int:
    """Answer tasks, `jobs` at once, add a row for each, and return how many failed."""
    failed = 0
    with JobProgress(len(tasks), prints_rows=isinstance(rows, RowPrinter)) as progress:

        async def work(task: BatchTask) -> None:
            nonlocal failed
            row, tokens = await _row_of(runtime, task, schema)
            await rows.add(row)
            is_failed = "error" in row
            failed += is_failed
            progress.count(is_failed=is_failed, tokens=tokens)

        await side_by_side(tasks, work, count=jobs)
    return failed


async def _row_of(
    runtime: Runtime, task: BatchTask, schema: WantedValue | None
) -> tuple[dict[str, Any], int]:
    """Send the request of a task; return its row and the number of tokens of the answer.

    The row has an error instead of the answer if the task has no request, if the answer ended with
    an error, or if it has no value that matches the schema.
    """
    if isinstance(task.outcome, LMChatError):
        return task.head | {"error": failure_detail(task.outcome)}, 0

    answer = await answer_of(runtime.backend, task.outcome.request, task.outcome.model)
    tokens = answer.stats.completion_tokens or 0
    error = answer.error
    value: dict[str, Any] = {}  # the field of the row with the value that the schema asks for
    if error is None and schema is not None:
        try:
            value = {"value": _value_in(answer, schema)}
        except LMChatError as misfit:
            error = misfit
    if error is not None:
        return task.head | {"error": failure_detail(error)}, tokens
    row = task.head | {
        "reply": answer.reply,
        "reasoning": answer.reasoning,
        "finish_reason": answer.stats.finish_reason or None,
        "model": answer.model,
        **answer.figures,
    }
    return row | value, tokens


def _value_in(answer: SingleAnswer, schema: WantedValue) -> Any:
    return schema.value_in(
        answer.reply,
        thought=answer.reasoning,
        finish_reason=answer.stats.finish_reason,
        is_refusal=answer.is_refusal,
    )


def _is_same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:  # one of them does not exist
        return False
