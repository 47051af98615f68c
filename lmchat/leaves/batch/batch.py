"""`lmchat batch`: many prompts from a file or a pipe, each with its answer as a JSON record."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.answers.json_schema import SchemaOutput
from lmchat.chat.settings import SamplingLayers
from lmchat.cli.context import Context
from lmchat.cli.read_prompt import preset_prompt, wanted_value
from lmchat.cli.setup.find_target import target_of_command
from lmchat.cli.setup.wiring import Runtime, open_runtime, sampling_layers
from lmchat.commands.shared import preset_named
from lmchat.errors import LMChatError, WrongUse
from lmchat.files.disk import expanded_path
from lmchat.leaves.batch.jobs import (
    Job,
    Progress,
    Record,
    Records,
    answer_to,
    print_note,
    run,
)
from lmchat.leaves.batch.lines import BatchLine, lines_of
from lmchat.leaves.batch.record_file import RecordFile
from lmchat.processes.background import run_abandonable
from lmchat.processes.environment import command_line
from lmchat.safe_text import safe_line, shell_word
from lmchat.servers.discovery.choose import choose_on_server, no_model_error
from lmchat.servers.discovery.status import ServerStatus
from lmchat.servers.model import ModelInfo, model_meant
from lmchat.servers.products import product_named
from lmchat.sessions.message import Role, text_message
from lmchat.terminal.output import Output, has_piped_input, is_terminal, to_json
from lmchat.units import counted

_MOST_JOBS = 8  # by default, prompts at once, however many slots a server has


async def batch(context: Context) -> int:
    """Answer all lines and print or write a record for each; return 1 if a line failed, else 0.

    Raises an error before anything is sent if the input, the output file or an option cannot be
    used, or if there is no server.
    """
    options, output = context.options, context.output
    layers, wanted = sampling_layers(context), wanted_value(context)
    preset_text = ""
    if options.preset is not None:
        preset_text = preset_named(context.settings.prompts, options.preset).text
    target_path = expanded_path(options.output_file) if options.output_file else None
    source = expanded_path(options.file) if options.file not in ("", "-") else None
    if source is None and not has_piped_input():
        next_step = "Name a file: lmchat batch prompts.jsonl, or pipe lines in."
        raise WrongUse("There are no prompts.", next_step=next_step)

    async with open_runtime(context, is_saved=False) as runtime:
        target = await target_of_command(context, runtime)
        server = await runtime.backend.models.check(target.endpoint)
        if target.model is None:  # only for the type checker: `target_of_command` has raised it
            raise no_model_error(server)
        lines = _Lines(
            context=context,
            runtime=runtime,
            source=source,
            server=server,
            model=target.model,
            layers=layers,
            wanted=wanted,
            preset_text=preset_text,
        )
        records: Records = _PrintedRecords(output)
        if target_path:
            open_records = partial(RecordFile, target_path, source=source, is_forced=options.force)
            records = await run_abandonable(open_records)
        elif is_terminal(sys.stdout):
            output.has_progress = False  # the printed records show the progress
        with records:
            missing = await asyncio.to_thread(lines.count_missing, records)
            progress = Progress(output, missing)
            slots = target.model.slots or product_named(target.product).lists.slots
            try:
                await run(
                    lines.jobs(),
                    lines.ask,
                    lambda _, record: "error" in record,
                    records=records,
                    progress=progress,
                    at_once=options.jobs or min(slots, _MOST_JOBS),
                )
            except asyncio.CancelledError:  # after Ctrl+C
                if missing is not None and target_path:
                    # with `--force`, the command would start again
                    command = ["lmchat", *(word for word in sys.argv[1:] if word != "--force")]
                    output.note(f"lmchat: To answer the rest: {command_line(command)}")
                raise
    done_before, answered, failed = progress.done_before, progress.done, progress.failed
    text = f"{counted(done_before + answered, 'line')}: {done_before} done before, "
    output.note(f"lmchat: {text}{answered - failed} answered, {failed} failed.")
    if failed and target_path:
        output.note(f"The rows in {options.output} say why. The same command does them again.")
    return 1 if failed else 0


class _PrintedRecords(Records):
    def __init__(self, output: Output) -> None:
        self._output = output

    async def add(self, record: Record) -> None:
        self._output.print_safe(to_json(record))


class _Lines(Struct, frozen=True, kw_only=True):
    """The lines of a batch, with the settings that all of them have."""

    context: Context
    runtime: Runtime
    source: Path | None  # None: stdin
    server: ServerStatus
    model: ModelInfo  # for lines that name none
    layers: SamplingLayers
    wanted: SchemaOutput | None
    preset_text: str  # with its placeholders; empty without a preset

    def jobs(self) -> Iterator[Job]:
        return map(self._job, lines_of(self.source, is_text=self.context.options.is_text))

    def count_missing(self, records: Records) -> int | None:
        """Return how many lines are to be answered; None for a pipe, which is read once."""
        if self.source is None or not os.path.isfile(self.source):  # noqa: PTH113 - Path may raise
            return None
        return sum(not records.is_done(job) for job in self.jobs())

    def _job(self, line: BatchLine) -> Job:
        options, system_prompt = self.context.options, self.runtime.settings.chat.system_prompt
        model, error = self.model, line.error
        if line.model and not options.model:
            try:
                model = self._model_named(line.model)
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
        return Job(
            head=head,
            model=model,
            messages=messages,
            options=self.layers.values(line.options, model.model_id),
            output=self.wanted.output if self.wanted else line.output,
            preset_text=self.preset_text,
            error=error,
        )

    def _model_named(self, name: str) -> ModelInfo:
        """Return a model of the server, listed or not.

        Raises `WrongUse` if the server has no such model, it cannot chat, or it is a remote one
        that the user has not chosen: a file does not decide where its prompts go.
        """
        target = choose_on_server(self.server, model=name, state=self.runtime.state).target
        if target is None or target.model is None:
            return model_meant(name, self.server.models, is_exact=True)
        if target.is_remote and target.model != self.model:
            shown = safe_line(target.model_id, limit=80)
            raise WrongUse(
                f"{shown} does not run on this machine, and only a line of the file names it.",
                next_step=f"To send all lines to it: -m {shell_word(target.model_id)}",
            )
        return target.model

    async def ask(self, job: Job) -> Record:
        """Ask a job, and return its record; an answer without the wanted value has failed.

        The last message fills the preset, if it is a prompt.
        """
        preset, sent = self.context.options.preset, job
        if preset is not None and job.messages and job.messages[-1].role is Role.USER:
            *before, prompt = job.messages
            try:
                text = await preset_prompt(self.context, preset, prompt.text)
                sent = replace(job, messages=[*before, text_message(Role.USER, text)])
            except LMChatError as error:
                sent = replace(job, error=error)
        show = partial(print_note, self.context.output, job)
        stuck = self.context.settings.chat.stuck
        answer = await answer_to(sent, self.runtime.backend, show, stuck=stuck)
        value = {}
        if self.wanted is not None and answer.error is None:
            try:
                value["value"] = self.wanted.value_in(
                    answer.reply,
                    thought=answer.reasoning,
                    finish_reason=answer.stats.finish_reason,
                    is_refusal=answer.is_refusal,
                )
            except LMChatError as error:
                answer = replace(answer, error=error)
        # with the key of `job`: that of `sent` has the preset
        return {**answer.record(job), **value}
