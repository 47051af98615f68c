"""`lmchat batch`: many prompts from a file or a pipe, each with its answer as one row of JSON."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from copy import copy
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lmchat.batch.jobs import JobProgress, answer_to, row_of, side_by_side
from lmchat.batch.results import RowFile
from lmchat.batch.tasks import Task, TaskReader, lines_as_they_come, lines_of
from lmchat.cli.context import Context
from lmchat.cli.extract import wanted_value
from lmchat.cli.local import choose_target
from lmchat.cli.models import model_named
from lmchat.cli.prompt import preset_prompt
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.config.presets import preset_named
from lmchat.errors import LMChatError, WrongUse
from lmchat.files.disk import expanded_path
from lmchat.servers.products import product_named
from lmchat.sessions.message import Role, text_message
from lmchat.terminal.output import failure_detail, to_json
from lmchat.tools.json_schema import WantedValue
from lmchat.units import plural

_MOST_JOBS = 8  # at once where their number is not given, however many slots a server has


async def batch(context: Context) -> int:
    """Answer all lines and print or write a row for each; return 1 if a line failed, else 0.

    Raises an error before anything is sent if the input, the output file or an option cannot be
    used, or if there is no server.
    """
    options = context.options
    layers = sampling_layers(context)
    schema = wanted_value(options)
    preset_text = ""
    if options.preset is not None:
        preset_text = preset_named(context.settings.prompts, options.preset).text
    output_path = expanded_path(options.output) if options.output else None
    input_path = expanded_path(options.file) if options.file not in ("", "-") else None
    if input_path is None and (sys.stdin is None or sys.stdin.isatty()):
        hint = "Name a file: lmchat batch prompts.jsonl, or pipe lines in."
        raise WrongUse("There are no prompts.", hint=hint)
    if output_path and input_path and input_path.resolve() == output_path.resolve():
        raise WrongUse("The output file is the input file.", hint="Name another file with -o.")
    lines_read = done = failed = 0

    async with open_runtime(context, is_saved=False) as runtime:
        chat = runtime.settings.chat
        target = await choose_target(context, runtime)
        models = await runtime.backend.models(target.endpoint, is_refresh=True)
        model = model_named(target.model_id, models)
        reader = TaskReader(
            layers=layers,
            models=models,
            model=model,
            is_model_fixed=bool(options.model),
            system_prompt=chat.system_prompt,
            is_system_prompt_fixed=options.system_prompt is not None,
            preset_text=preset_text,
            output=schema.output if schema else None,
            is_text=options.is_text,
        )
        keys = None  # of the rows of all lines; what comes through a pipe is not known yet
        if input_path and input_path.is_file():
            keys = await asyncio.to_thread(_keys, reader, input_path)
        total = None if keys is None else len(keys)

        with ExitStack() as stack:
            rows = stack.enter_context(RowFile(output_path)) if output_path else None
            if rows:
                kept = rows.keep_done(keys, is_forced=options.force)
                total = None if total is None else total - kept
            progress = stack.enter_context(JobProgress(total, prints_rows=rows is None))

            async def missing_tasks() -> AsyncGenerator[Task, None]:
                nonlocal lines_read, done
                async for number, line in lines_as_they_come(input_path):
                    lines_read += 1
                    task = reader.task(number, line)
                    if rows and rows.is_done(task):
                        done += 1
                    else:
                        yield task

            async def work(task: Task) -> None:
                nonlocal failed
                row, tokens = await _answer(context, runtime, task, schema)
                if rows:
                    await rows.add(row)
                else:
                    context.output.print_safe(to_json(row))
                is_failed = "error" in row
                failed += is_failed
                progress.count(is_failed=is_failed, tokens=tokens)

            slots = model.slots or product_named(model.product).slots
            async with aclosing(missing_tasks()) as tasks:
                await side_by_side(tasks, work, count=options.jobs or min(slots, _MOST_JOBS))
    words = f"{plural(lines_read, 'line')}: {done} done before, "
    context.output.note(f"lmchat: {words}{lines_read - done - failed} answered, {failed} failed.")
    return 1 if failed else 0


def _keys(reader: TaskReader, path: Path) -> dict[int, str]:
    """Return the keys of the rows of a file's lines, by the number of the line."""
    return {number: reader.task(number, line).head["key"] for number, line in lines_of(path)}


async def _answer(
    context: Context, runtime: Runtime, task: Task, schema: WantedValue | None
) -> tuple[dict[str, Any], int]:
    """Send the request of a task; return its row and the number of tokens of the answer.

    The preset is filled with the last message, if that is a prompt. The row has an error in place
    of the answer also if the answer has no value that matches the schema.
    """
    options = context.options
    if options.preset is not None and task.messages and task.messages[-1].role is Role.USER:
        try:
            prompt = await preset_prompt(context, options.preset, task.messages[-1].text)
        except LMChatError as error:
            task = replace(task, error=error)
        else:
            prompts = [*task.messages[:-1], text_message(Role.USER, prompt)]
            task = replace(task, messages=prompts)
    answer = await answer_to(task, runtime.backend)
    tokens = answer.stats.completion_tokens or 0
    row = row_of(task, answer)
    if schema is not None and answer.error is None:
        try:
            # a copy: the next row is no second attempt at this one
            row["value"] = copy(schema).value_in(
                answer.reply,
                thought=answer.reasoning,
                finish_reason=answer.stats.finish_reason,
                is_refusal=answer.is_refusal,
            )
        except LMChatError as error:
            row = {**task.head, "error": failure_detail(error)}
    return row, tokens
