"""`lmchat eval`: own prompts for several models, with checks of their answers.

Prompts are sent one at a time: two at once would share the speed of the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.batch.checks import read_cases
from lmchat.batch.jobs import JobProgress, answer_to, row_of
from lmchat.batch.results import FIGURES, RowFile, figure_cells, rounded_median
from lmchat.cli.context import Context
from lmchat.cli.local import choose_target
from lmchat.cli.models import fetch_models, load_if_needed, models_named
from lmchat.cli.sampling import sampling_layers
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
    cases = {case.name: case for case in await read_cases(expanded_path(options.file))}

    async with open_runtime(context, is_saved=False) as runtime:
        chat = runtime.settings.chat
        models = await _models(context, runtime)
        runs = product(models, cases.values(), range(1, options.runs + 1))
        tasks = {
            index: case.task(index, model, run, layers, chat.system_prompt)
            for index, (model, case, run) in enumerate(runs, 1)
        }
        results: dict[int, _Result] = {}

        def keep(row: dict[str, Any]) -> None:
            index, name = row["index"], row["id"]
            model_id = tasks[index].model.model_id
            results[index] = _Result(model_id, row, cases[name].failures(row))

        with ExitStack() as stack:
            file = None
            if options.output:
                file = stack.enter_context(RowFile(expanded_path(options.output)))
                keys = {index: task.head["key"] for index, task in tasks.items()}
                file.keep_done(keys, is_forced=options.force, use=keep)
            stack.callback(_print_report, output, results)
            missing = [task for index, task in tasks.items() if index not in results]
            progress = stack.enter_context(JobProgress(len(missing), prints_rows=False))
            model: ModelInfo | None = None
            load_error: LMChatError | None = None
            for task in missing:
                if task.model is not model:  # it is loaded before, so that no answer waits for it
                    model, load_error = task.model, None
                    try:
                        await load_if_needed(runtime, model, output)
                    except LMChatError as error:
                        load_error = error
                answer = await answer_to(replace(task, error=load_error), runtime.backend)
                row = row_of(task, answer)
                tokens = answer.stats.completion_tokens
                if answer.error is None:
                    row["tokens_per_second"] = rounded(answer.stats.tokens_per_second)
                    row["tokens"] = tokens
                if file:
                    await file.add(row)
                keep(row)
                is_failed = bool(results[task.index].failures)
                progress.count(is_failed=is_failed, tokens=tokens or 0)
    return 1 if any(result.failures for result in results.values()) else 0


class _Result(Struct, frozen=True):
    """An answer that is checked."""

    model_id: str
    row: Mapping[str, Any]
    failures: Mapping[str, str]  # checks that it fails, each with the reason


async def _models(context: Context, runtime: Runtime) -> list[ModelInfo]:
    """Return the models to ask: those of `-m`, each once, or the one that `lmchat ask` would use.

    Raises `WrongUse` for an unknown model, and for one that cannot chat.
    """
    names: Sequence[str] = context.options.models
    if names:
        model_list = await fetch_models(runtime, context.output.note)
    else:
        target = await choose_target(context, runtime)
        model_list = await runtime.backend.models(target.endpoint, is_refresh=True)
        names = [target.model_id]
    models = models_named(names, model_list)
    return [model for index, model in enumerate(models) if model not in models[:index]]


def _print_report(output: Output, results: Mapping[int, _Result]) -> None:
    """Print figures and answers of the models; nothing without an answer."""
    answers: list[dict[str, Any]] = []
    failed_lines: list[str] = []
    by_model: dict[str, list[_Result]] = {}
    for _, result in sorted(results.items()):
        row, failures, model = result.row, result.failures, result.model_id
        by_model.setdefault(model, []).append(result)
        answer = {
            "name": row["id"],
            "model": model,
            "run": row["run"],
            "passed": not failures,
            "failed": list(failures),
            "reply": row.get("reply", ""),
        }
        answers.append(answer | ({"detail": row["error"]} if "error" in row else {}))
        if failures:
            head = f"{row['id']} · {model} · run {row['run']}"
            failed_lines += ["", f"{head}: {'; '.join(failures.values())}"]
            reply = safe_line(answer["reply"], limit=_MAX_REPLY)
            failed_lines += [f"  {reply}"] if reply else []

    figures: list[dict[str, Any]] = []
    lines: list[tuple[str, ...]] = []
    for model, own in by_model.items():
        medians = {
            name: rounded_median([result.row.get(name) for result in own])
            for name in ("ttft_ms", "tokens_per_second", "tokens", "elapsed_ms")
        }
        passed = sum(not result.failures for result in own)
        figures.append({"model": model, "passed": passed, "cases": len(own), **medians})
        lines.append((model, f"{passed} of {len(own)}", *figure_cells(**medians)))
    if answers and output.is_json:
        output.print_json({"models": figures, "cases": answers})
    elif answers:
        output.print_lines([*table(("MODEL", "PASSED", *FIGURES), lines), *failed_lines])
