"""`lmchat eval`: own prompts for several models, with checks of their answers.

A case is a prompt and the checks of its answer. Each model is asked each case `--runs` times, one
at a time: two prompts at once would share the speed of the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from itertools import groupby, product
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.api import Client
from lmchat.app.cli.context import Context
from lmchat.app.cli.home import load_shown, open_home
from lmchat.app.cli.read_prompt import sampling_layers
from lmchat.app.leaves.batch.cases import Case, read_cases
from lmchat.app.leaves.batch.jobs import (
    STATS,
    Job,
    Progress,
    Record,
    answer_to,
    names_in,
    print_note,
    record_of,
    rounded_median,
    run,
    stats_cells,
)
from lmchat.app.leaves.batch.record_file import RecordFile
from lmchat.app.terminal.output import Output, table
from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.files.disk import expanded_path
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line
from lmchat.base.units import rounded

_MAX_REPLY = 200  # characters of the reply of a failed case that are printed
_STATS = ("ttft_ms", "tokens_per_second", "tokens", "elapsed_ms")
"""Fields of a record, in the order of `STATS`."""


async def evaluate(context: Context) -> int:
    """Ask all models all cases, and print how many answers pass; return 1 if one fails, else 0.

    Raises an error before anything is asked if a file or a model cannot be used. After Ctrl+C or a
    later error, the answers until then are printed.
    """
    options = context.options
    output = context.output
    if options.output and options.output_file is None:
        raise WrongUse(
            "eval prints its report on stdout, so its answers cannot go there, too.",
            next_step="Use --json for both, or name a file with -o.",
        )
    names = tuple(dict.fromkeys(options.models))
    if context.is_local and len(names) > 1:
        raise WrongUse(
            "The built-in engine runs one model at a time.",
            next_step="Name one with -m, and repeat the command for others.",
        )
    layers = sampling_layers(context)
    source = expanded_path(options.file)
    cases = await read_cases(source, context.settings.chat.system_prompt)
    for case in cases:
        for part in (part for message in case.messages for part in message.files if part.left_out):
            context.note(f"{safe_line(case.name)}: {part.label}.")
        if case.wanted and case.wanted.note:
            context.note(f"{safe_line(case.name)}: {case.wanted.note}.")
    async with open_home(context, () if context.is_local else names) as (home, models):
        runs = product(models, cases, range(1, options.runs + 1))
        results = [
            _Result(
                case,
                Job(
                    head={"index": index, "id": case.name, "run": number},
                    model=model,
                    messages=case.messages,
                    options=layers.values(case.entry.set, model.model_id),
                    wanted=case.wanted,
                    files=case.files,
                ),
            )
            for index, (model, case, number) in enumerate(runs, 1)
        ]
        records: RecordFile | None = None
        if options.output:
            path = expanded_path(options.output)
            open_records = partial(RecordFile, path, source=source, is_forced=options.force)
            records = await run_abandonable(open_records)
        with records or nullcontext(), ExitStack() as stack:
            missing = [result.job for result in results]
            if records is not None:
                missing = [*records.missing(missing)]
                finished = {record["index"]: record for record in records.finished()}
                for result in results:
                    result.record = finished.get(result.job.head["index"], {})
            stack.callback(_print_report, output, results)  # at the end, also after an error
            progress = Progress(output, len(missing))

            async def answer(job: Job) -> None:
                record = await _ask(context, home.client, job)
                if records is not None:
                    await records.add(record)
                result = results[job.head["index"] - 1]
                result.record = record
                progress.count(record, is_failed=bool(result.failures))

            # in the order of the models, so each model is loaded once
            for model, group in groupby(missing, lambda job: job.model):
                load_error: LMChatError | None = None
                try:  # now: the time of the first prompt must not include loading
                    await load_shown(home.load, model, output)
                except LMChatError as error:
                    load_error = error
                await run(iter([replace(job, error=load_error) for job in group]), answer)
    return 1 if any(result.failures for result in results) else 0


async def _ask(context: Context, client: Client, job: Job) -> Record:
    show = partial(print_note, context.output, job.head)
    try:
        answer = await answer_to(job, client, show, stuck=context.settings.chat.stuck)
    except LMChatError as error:
        return record_of(job, error)
    record = record_of(job, answer)
    if answer.error is None:
        record["tokens_per_second"] = rounded(answer.stats.tokens_per_second)
        record["tokens"] = answer.stats.completion_tokens
    return record


class _Result(Struct):
    """One run of a case at a model, and its answer once there is one."""

    case: Case
    job: Job
    record: Record = {}  # empty: not asked yet

    @property
    def failures(self) -> Mapping[str, str]:
        """Checks that the answer fails, each with the reason."""
        return self.case.failures(self.record)


def _print_report(output: Output, results: Sequence[_Result]) -> None:
    models: list[dict[str, Any]] = []  # as JSON
    table_rows: list[tuple[str, ...]] = []  # of the models, as text
    answers: list[dict[str, Any]] = []  # all answers, as JSON
    failed_lines: list[str] = []  # the failed answers, as text
    answered = [result for result in results if result.record]
    if not answered:
        return
    # `groupby` finds each model once: the results are in the order of the models
    for asked, group in groupby(answered, lambda result: result.job.model.model_id):
        model_results = list(group)
        others = (one.record for one in model_results if "asked_model" in one.record)
        names = names_in(next(others, {}), asked)
        medians = {
            name: rounded_median([result.record.get(name) for result in model_results])
            for name in _STATS
        }
        passed = sum(not result.failures for result in model_results)
        models.append({**names, "passed": passed, "cases": len(model_results), **medians})
        shown = " instead of ".join(names.values())
        table_rows.append((shown, f"{passed} of {len(model_results)}", *stats_cells(**medians)))
    for result in answered:
        head = result.job.head
        record = result.record
        failures = result.failures
        reply = record.get("reply", "")
        names = names_in(record, result.job.model.model_id)
        answer: dict[str, Any] = {
            "name": head["id"],
            **names,
            "run": head["run"],
            "passed": not failures,
            "failed": list(failures),
            "prompt_cut": bool(record.get("prompt_cut")),
            "reply": reply,
        }
        if record.get("stuck"):
            answer["stuck"] = True
        if "error" in record:
            answer["detail"] = record["error"]
        answers.append(answer)
        if failures:
            shown = " instead of ".join(names.values())
            text = f"{head['id']} · {shown} · run {head['run']}"
            failed_lines += ["", f"{text}: {'; '.join(failures.values())}"]
            if reply:
                failed_lines.append(f"  {safe_line(reply, limit=_MAX_REPLY)}")
    if output.is_json:
        output.print_json({"models": models, "cases": answers})
    else:
        output.print_lines([*table(("MODEL", "PASSED", *STATS), table_rows), *failed_lines])
