"""`lmchat batch`: many prompts from a file or a pipe, each with its answer as a JSON record."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.api import Client, ModelInfo, SchemaOutput
from lmchat.app.cli.context import Context
from lmchat.app.cli.home import open_home
from lmchat.app.cli.read_prompt import preset_prompt, preset_text, sampling_layers, wanted_value
from lmchat.app.leaves.batch.jobs import (
    Job,
    Options,
    Progress,
    Record,
    answer_to,
    print_note,
    record_of,
    run,
)
from lmchat.app.leaves.batch.lines import BatchLine, lines_of
from lmchat.app.leaves.batch.record_file import RecordFile
from lmchat.app.terminal.output import has_piped_input, is_terminal, to_json
from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.files.disk import expanded_path
from lmchat.base.processes.background import run_abandonable
from lmchat.base.processes.environment import command_line
from lmchat.base.safe_text import safe_line, shell_word
from lmchat.base.units import counted
from lmchat.core.sessions.message import Role, text_message

_MOST_JOBS = 8  # by default, prompts at once, however many slots a server has


async def batch(context: Context) -> int:
    """Answer all lines and print or write a record for each; return 1 if a line failed, else 0.

    Raises an error before anything is sent if the input, the output file or an option cannot be
    used, or if there is no server.
    """
    options = context.options
    output = context.output
    layers = sampling_layers(context)
    wanted = await wanted_value(context)
    preset = preset_text(context)
    target_path = expanded_path(options.output_file) if options.output_file else None
    source = expanded_path(options.file) if options.file not in ("", "-") else None
    if source is None and not has_piped_input():
        raise WrongUse(
            "There are no prompts.",
            next_step="Name a file: lmchat batch prompts.jsonl, or pipe lines in.",
        )

    async with open_home(context) as (home, (model,)):
        lines = _Lines(
            context=context,
            client=home.client,
            find_model=home.client.beside(model),
            source=source,
            model=model,
            options=layers.values,
            wanted=wanted,
            preset_text=preset,
        )
        records: RecordFile | None = None
        if target_path:
            open_records = partial(RecordFile, target_path, source=source, is_forced=options.force)
            records = await run_abandonable(open_records)
        elif is_terminal(sys.stdout):
            output.has_progress = False  # the printed records show the progress
        with records or nullcontext():
            missing = await asyncio.to_thread(lines.count_missing, records)
            progress = Progress(output, missing)

            async def answer(job: Job) -> None:
                record = await lines.ask(job)
                if records is not None:
                    await records.add(record)
                else:
                    output.print_safe(to_json(record))
                progress.count(record, is_failed="error" in record)

            try:
                at_once = options.jobs or min(home.client.slots(model), _MOST_JOBS)
                await run(lines.missing(records), answer, at_once=at_once)
            except asyncio.CancelledError:  # after Ctrl+C
                if missing is not None and target_path:
                    # with `--force`, the command would start again
                    command = ["lmchat", *(word for word in sys.argv[1:] if word != "--force")]
                    context.note(f"To answer the rest: {command_line(command)}")
                raise
    done_before = records.done_count if records else 0
    answered, failed = progress.done, progress.failed
    text = f"{counted(done_before + answered, 'line')}: {done_before} done before, "
    silent = f" ({progress.without_text} without text)" if progress.without_text else ""
    context.note(f"{text}{answered - failed} answered{silent}, {failed} failed.")
    if failed and target_path:
        output.note(f"The rows in {options.output} say why. The same command does them again.")
    return 1 if failed else 0


class _Lines(Struct, frozen=True, kw_only=True):
    """The lines of a batch, with the settings that all of them have."""

    context: Context
    client: Client
    find_model: Callable[[str], ModelInfo]  # at the server of `model`
    source: Path | None  # None: stdin
    model: ModelInfo  # for lines that name none
    options: Options
    wanted: SchemaOutput | None
    preset_text: str  # with its placeholders; empty without a preset

    def missing(self, records: RecordFile | None) -> Iterator[Job]:
        jobs = map(self._job, lines_of(self.source, is_text=self.context.options.is_text))
        return jobs if records is None else records.missing(jobs)

    def count_missing(self, records: RecordFile | None) -> int | None:
        """Return how many lines are to be answered; None for a pipe, which is read once."""
        if self.source is None or not os.path.isfile(self.source):  # noqa: PTH113 - Path may raise
            return None
        return sum(1 for _ in self.missing(records))

    def _job(self, line: BatchLine) -> Job:
        options = self.context.options
        system_prompt = self.context.settings.chat.system_prompt
        model = self.model
        error = line.error
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
            options=self.options(line.options, model.model_id),
            wanted=self.wanted or line.wanted,
            preset_text=self.preset_text,
            error=error,
        )

    def _model_named(self, name: str) -> ModelInfo:
        """Return a model of the server, listed or not.

        Raises `WrongUse` if the server has no such model, it cannot chat, or it is a remote one
        that the user has not chosen: a file does not decide where its prompts go.
        """
        model = self.find_model(name)
        if model.is_remote and model != self.model:
            shown = safe_line(model.model_id, limit=80)
            raise WrongUse(
                f"{shown} does not run on this machine, and only a line of the file names it.",
                next_step=f"To send all lines to it: -m {shell_word(model.model_id)}",
            )
        return model

    async def ask(self, job: Job) -> Record:
        """Ask a job, and return its record; an answer without the wanted value has failed.

        The last message fills the preset, if it is a prompt.
        """
        preset = self.context.options.preset
        sent = job
        value = {}
        try:
            if preset is not None and job.messages and job.messages[-1].role is Role.USER:
                *before, prompt = job.messages
                text = await preset_prompt(self.context, preset, prompt.text)
                sent = replace(job, messages=[*before, text_message(Role.USER, text)])
            show = partial(print_note, self.context.output, job.head)
            answer = await answer_to(
                sent, self.client, show, stuck=self.context.settings.chat.stuck
            )
        except LMChatError as error:
            return record_of(job, error)
        if self.wanted is not None and answer.error is None:
            try:
                value["value"] = answer.value_of(self.wanted)
            except LMChatError as error:
                answer = replace(answer, error=error)
        # with the key of `job`: that of `sent` has the preset
        return {**record_of(job, answer), **value}
