"""`lmchat eval`: own prompts for several models, with checks of their answers.

Prompts are sent one at a time: two at once would share the speed of the server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from itertools import product
from typing import Any

from msgspec.structs import replace

from lmchat.batch.checks import Case, read_cases
from lmchat.batch.jobs import JobProgress, answer_to, row_of, side_by_side
from lmchat.batch.results import FIGURES, RowFile, figure_cells, rounded_median
from lmchat.batch.tasks import Task
from lmchat.cli.context import Context
from lmchat.cli.models import fetch_models, load_if_needed, models_named
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.target import find_target
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.errors import LMChatError
from lmchat.files.disk import expanded_path
from lmchat.safe_text import safe_line
from lmchat.servers.model import ModelInfo
from lmchat.terminal.output import Output, rounded, table

_MAX_REPLY = 200  # characters of the reply of a failed case that are printed


async def evaluate(context: Context) -> int:
    """Ask all models all prompts, and print how many answers pass; return 1 if one fails, else 0.

    Raises an error before anything is asked if a file or a model cannot be used. After Ctrl+C or a
    later error, the answers until then are printed.
    """
    options, output = context.options, context.output
    layers = sampling_layers(context)
    cases = await read_cases(expanded_path(options.file))

    async with open_runtime(context, is_saved=False) as runtime:
        chat = runtime.settings.chat
        models = await _models(context, runtime)
        runs = product(models, cases, range(1, options.runs + 1))
        tasks = {
            index: case.task(index, model, run, layers, chat.system_prompt)
            for index, (model, case, run) in enumerate(runs, 1)
        }
        rows: dict[int, dict[str, Any]] = {}
        cases_by_name = {case.name: case for case in cases}

        def keep(row: dict[str, Any]) -> None:
            rows[row["index"]] = row

        with ExitStack() as stack:
            file = (
                stack.enter_context(RowFile(expanded_path(options.output)))
                if options.output
                else None
            )
            if file:
                keys = {index: task.head["key"] for index, task in tasks.items()}
                file.keep_done(keys, is_forced=options.force, use=keep)
            stack.callback(_print_report, output, cases_by_name, tasks, rows)
            missing = [task for index, task in tasks.items() if index not in rows]
            progress = stack.enter_context(JobProgress(len(missing), prints_rows=False))

            async def work(task: Task) -> None:
                answer = await answer_to(task, runtime.backend)
                row = row_of(task, answer)
                if answer.error is None:
                    row["tokens_per_second"] = rounded(answer.stats.tokens_per_second)
                    row["tokens"] = answer.stats.completion_tokens
                if file:
                    await file.add(row)
                keep(row)
                is_failed = bool(cases_by_name[task.head["id"]].failures(row))
                tokens = answer.stats.completion_tokens or 0
                progress.count(is_failed=is_failed, tokens=tokens)

            async with aclosing(_with_loaded_models(missing, runtime, output)) as loaded:
                await side_by_side(loaded, work, count=1)
    has_failed = any(cases_by_name[row["id"]].failures(row) for row in rows.values())
    return 1 if has_failed else 0


async def _models(context: Context, runtime: Runtime) -> list[ModelInfo]:
    """Return the models to ask: those of `-m`, each once, or the one that `lmchat ask` would use.

    Raises `WrongUse` for an unknown model, and for one that cannot chat.
    """
    names: Sequence[str] = context.options.models
    if names:
        model_list = await fetch_models(runtime, context.output.note, is_refresh=True)
    else:
        target = await find_target(
            runtime.backend, runtime.settings, runtime.state, context.output.note
        )
        model_list = await runtime.backend.models(target.endpoint, is_refresh=True)
        names = [target.model_id]
    models = models_named(names, model_list)
    return [model for index, model in enumerate(models) if model not in models[:index]]


async def _with_loaded_models(
    tasks: Sequence[Task], runtime: Runtime, output: Output
) -> AsyncGenerator[Task, None]:
    """Yield tasks; the model of each is loaded before, so that no answer waits for it.

    The tasks of a model that cannot be loaded have the error.
    """
    model: ModelInfo | None = None
    load_error: LMChatError | None = None
    for task in tasks:
        if task.model is not model:
            model, load_error = task.model, None
            try:
                await load_if_needed(runtime, model, output)
            except LMChatError as error:
                load_error = error
        yield replace(task, error=load_error)


def _print_report(
    output: Output,
    cases: Mapping[str, Case],
    tasks: Mapping[int, Task],
    rows: Mapping[int, Mapping[str, Any]],
) -> None:
    """Print figures and answers of the models; nothing without an answer."""
    answers: list[dict[str, Any]] = []
    failed_lines: list[str] = []
    rows_of_models: dict[str, list[Mapping[str, Any]]] = {}
    for index, row in sorted(rows.items()):
        name, run, model = row["id"], row["run"], tasks[index].model.model_id
        failures = cases[name].failures(row)
        answer = {
            "name": name,
            "model": model,
            "run": run,
            "passed": not failures,
            "failed": list(failures),
            "reply": row.get("reply", ""),
        }
        answers.append(answer | ({"detail": row["error"]} if "error" in row else {}))
        rows_of_models.setdefault(model, []).append(row)
        if failures:
            failed_lines += ["", f"{name} · {model} · run {run}: {'; '.join(failures.values())}"]
            reply = safe_line(answer["reply"], limit=_MAX_REPLY)
            failed_lines += [f"  {reply}"] if reply else []

    figures: list[dict[str, Any]] = []
    lines: list[tuple[str, ...]] = []
    for model, own in rows_of_models.items():
        medians = {
            name: rounded_median([row.get(name) for row in own])
            for name in ("ttft_ms", "tokens_per_second", "tokens", "elapsed_ms")
        }
        passed = sum(answer["passed"] for answer in answers if answer["model"] == model)
        figures.append({"model": model, "passed": passed, "cases": len(own), **medians})
        lines.append((model, f"{passed} of {len(own)}", *figure_cells(**medians)))
    if answers and output.is_json:
        output.print_json({"models": figures, "cases": answers})
    elif answers:
        output.print_lines([*table(("MODEL", "PASSED", *FIGURES), lines), *failed_lines])
