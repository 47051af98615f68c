"""`lmchat batch`: many prompts from a file or a pipe, each with its answer as one row of JSON.

A line is a prompt of the input. It becomes a task, whose answer or error becomes a row of the
output.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.answers.json_schema import WantedValue
from lmchat.batch.lines import BatchLine, lines_of
from lmchat.batch.row_file import RowFile
from lmchat.batch.task_answers import Progress, Task, answer_to, print_remote_note
from lmchat.chat.settings import SamplingLayers
from lmchat.cli.context import Context
from lmchat.cli.read_prompt import preset_prompt, wanted_value
from lmchat.cli.setup.find_target import target_of_command
from lmchat.cli.setup.wiring import Runtime, open_runtime, sampling_layers
from lmchat.commands.shared import preset_named
from lmchat.errors import LMChatError, WrongUse
from lmchat.files.disk import expanded_path
from lmchat.processes.threads import run_abandonable
from lmchat.servers.discovery.choose import choose_on_server, no_model_error
from lmchat.servers.discovery.status import ServerStatus
from lmchat.servers.model import ModelInfo, model_meant
from lmchat.servers.products import product_named
from lmchat.sessions.message import Role, text_message
from lmchat.terminal.output import has_piped_input, is_terminal, to_json
from lmchat.units import counted

_MOST_JOBS = 8  # by default, prompts at once, however many slots a server has


async def batch(context: Context) -> int:
    """Answer all lines and print or write a row for each; return 1 if a line failed, else 0.

    Raises an error before anything is sent if the input, the output file or an option cannot be
    used, or if there is no server.
    """
    options, output = context.options, context.output
    layers, wanted = sampling_layers(context), wanted_value(context)
    preset_text = ""
    if options.preset is not None:
        preset_text = preset_named(context.settings.prompts, options.preset).text
    output_path = expanded_path(options.output_file) if options.output_file else None
    input_path = expanded_path(options.file) if options.file not in ("", "-") else None
    if input_path is None and not has_piped_input():
        hint = "Name a file: lmchat batch prompts.jsonl, or pipe lines in."
        raise WrongUse("There are no prompts.", hint=hint)
    if output_path and input_path and _is_same_file(input_path, output_path):
        raise WrongUse("The output file is the input file.", hint="Name another file with -o.")

    async with open_runtime(context, is_saved=False) as runtime:
        target = await target_of_command(context, runtime)
        server = await runtime.backend.check(target.endpoint)
        if target.model is None:  # only for the type checker: `target_of_command` has raised it
            raise no_model_error(server)
        with ExitStack() as stack:
            row_file = None
            if output_path:  # opening a pipe waits for its reader
                opened = await run_abandonable(partial(RowFile, output_path))
                row_file = stack.enter_context(opened)
            if row_file:  # the prompt of a line that an earlier run has answered is not sent again
                row_file.keep_done(is_forced=options.force)
            elif is_terminal(sys.stdout):
                output.has_progress = False  # the printed rows show the progress
            run = _Run(
                context=context,
                runtime=runtime,
                server=server,
                model=target.model,
                layers=layers,
                wanted=wanted,
                preset_text=preset_text,
                row_file=row_file,
            )
            progress = await run.answer_all(input_path)
    done_before, done, failed = progress.done_before, progress.done, progress.failed
    words = f"{counted(done_before + done, 'line')}: {done_before} done before, "
    output.note(f"lmchat: {words}{done - failed} answered, {failed} failed.")
    if failed and output_path:
        output.note(f"The rows in {options.output} say why. The same command does them again.")
    return 1 if failed else 0


def _is_same_file(one: Path, other: Path) -> bool:
    # Path.resolve would raise an error for links in a circle
    return os.path.realpath(one) == os.path.realpath(other)


class _Run(Struct, frozen=True, kw_only=True):
    """Run of a batch, with settings, models and output file, the same for all its lines."""

    context: Context
    runtime: Runtime
    server: ServerStatus  # the server, with the models that a line may name
    model: ModelInfo  # for lines that name none
    layers: SamplingLayers
    wanted: WantedValue | None
    preset_text: str  # text of the preset with its placeholders; empty without a preset
    row_file: RowFile | None  # None if the rows are printed

    async def answer_all(self, input_path: Path | None) -> Progress:
        """Answer all lines of a file, or of stdin for None, several at once; return the counts.

        Raises the first unexpected error; the other answers are then cancelled.
        """
        options, output = self.context.options, self.context.output
        missing = await asyncio.to_thread(self.count_missing, input_path)
        progress = Progress(output, missing)
        lines = lines_of(input_path, is_text=options.is_text)
        reading = asyncio.Lock()  # a generator can have only one caller at a time
        # how many requests the server answers at the same time
        slots = self.model.slots or product_named(self.model.product).slots
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(options.jobs or min(slots, _MOST_JOBS)):
                    group.create_task(self.answer_lines(lines, reading, progress))
        except asyncio.CancelledError:  # after Ctrl+C
            if missing is not None and self.row_file:
                # with `--force`, the command would begin again
                command = ["lmchat", *(word for word in sys.argv[1:] if word != "--force")]
                output.note(f"lmchat: To answer the rest: {shlex.join(command)}")
            raise
        except ExceptionGroup as failures:  # after the first one, the others are cancelled
            raise failures.exceptions[0] from None
        return progress

    def is_done(self, task: Task) -> bool:
        """Return whether an earlier run has written the answer to the output file."""
        return self.row_file is not None and self.row_file.done_row(task) is not None

    def count_missing(self, input_path: Path | None) -> int | None:
        """Return how many lines are to be answered; None for a pipe, which is read once."""
        if input_path is None or not os.path.isfile(input_path):  # noqa: PTH113 - Path may raise
            return None
        lines = lines_of(input_path, is_text=self.context.options.is_text)
        return sum(not self.is_done(self.task(line)) for line in lines)

    async def answer_lines(
        self, lines: Iterator[BatchLine], reading: asyncio.Lock, progress: Progress
    ) -> None:
        """Answer one line after the other, until no line is left.

        Several of these calls run at the same time, and share lines, lock and progress. A line is
        not read before it can be sent.
        """
        while True:
            async with reading:
                line = await run_abandonable(lambda: next(lines, None))
            if line is None:
                return
            task = self.task(line)
            if self.is_done(task):
                progress.done_before += 1
                continue
            row, tokens = await self.answer(task)  # `tokens` may be unknown
            if self.row_file:
                self.row_file.add(row)
            else:
                self.context.output.print_safe(to_json(row))
            progress.count(is_failed="error" in row, tokens=tokens)

    def model_named(self, name: str) -> ModelInfo:
        """Return the model of the server that a line names, listed or not.

        Raises `WrongUse` if the server has no such model, or it cannot chat.
        """
        target = choose_on_server(self.server, model=name, state=self.runtime.state).target
        if target is not None and target.model is not None:
            return target.model
        return model_meant(name, self.server.models, is_exact=True)

    def task(self, line: BatchLine) -> Task:
        """Return the task of a line.

        The task has the text of the preset with its placeholders, such as the one for the day;
        `answer` fills them. So the key of the task, by which a row of an earlier run is found, is
        the same on another day.
        """
        options, system_prompt = self.context.options, self.runtime.settings.chat.system_prompt
        model, error = self.model, line.error
        if line.model and not options.model:
            try:
                model = self.model_named(line.model)
            except WrongUse as unknown:
                error = unknown
        messages = line.messages
        if options.system_prompt is not None:  # it replaces the system prompts of the line
            messages = tuple(message for message in messages if message.role is not Role.SYSTEM)
        if system_prompt and not any(message.role is Role.SYSTEM for message in messages):
            messages = (text_message(Role.SYSTEM, system_prompt), *messages)
        head: dict[str, Any] = {"index": line.number}
        if line.line_id is not None:
            head["id"] = line.line_id
        return Task(
            head=head,
            model=model,
            messages=messages,
            options=self.layers.values(line.options, model.model_id),
            output=self.wanted.output if self.wanted else line.output,
            preset_text=self.preset_text,
            error=error,
        )

    async def answer(self, task: Task) -> tuple[dict[str, Any], int | None]:
        """Send the request of a task; return its row and the tokens of the answer, if known.

        The preset is filled with the last message, if that is a prompt. An answer without a value
        that matches the schema counts as failed: the row has an error in its place.
        """
        preset = self.context.options.preset
        sent = task  # gets the filled preset, if there is one
        if preset is not None and task.messages and task.messages[-1].role is Role.USER:
            *before, prompt = task.messages
            try:
                text = await preset_prompt(self.context, preset, prompt.text)
                sent = replace(task, messages=[*before, text_message(Role.USER, text)])
            except LMChatError as error:
                sent = replace(task, error=error)
        show = partial(print_remote_note, self.context.output)
        answer = await answer_to(sent, self.runtime.backend, show)
        value_field = {}
        if self.wanted is not None and answer.error is None:
            try:
                value_field["value"] = self.wanted.value_in(
                    answer.reply,
                    thought=answer.reasoning,
                    finish_reason=answer.stats.finish_reason,
                    is_refusal=answer.is_refusal,
                )
            except LMChatError as error:
                answer = replace(answer, error=error)
        # the row of `task`, not of `sent`: its key does not depend on the filled preset
        return {**answer.row(task), **value_field}, answer.stats.completion_tokens
