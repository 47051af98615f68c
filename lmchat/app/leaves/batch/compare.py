"""`lmchat compare`: one prompt for several models in turn, with their answers and stats."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.api import Answer, Home
from lmchat.app.cli.context import Context
from lmchat.app.cli.home import load_shown, open_home
from lmchat.app.cli.read_prompt import prompt_of, sampling_layers
from lmchat.app.cli.turn_printer import TurnPrinter
from lmchat.app.leaves.batch.jobs import (
    STATS,
    Job,
    answer_to,
    names_in,
    prompt_messages,
    record_of,
    rounded_median,
    stats_cells,
)
from lmchat.app.terminal.output import failure_detail, table
from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.units import rounded

_MIN_MODELS = 2
_STATS = ("ttft_ms", "tokens_per_second", "completion_tokens", "elapsed_ms")
"""Fields of `AnswerStats`, in the order of `STATS`."""


async def compare(context: Context) -> int:
    """Print the answers and stats of all models; return 1 if one of them failed, else 0.

    Raises `WrongUse` for fewer than two models, and a model that is unknown or cannot chat. All
    this is checked before a model is asked.
    """
    options = context.options
    output = context.output
    if len(options.models) < _MIN_MODELS:
        raise WrongUse(
            "Name at least two models.", next_step='Example: lmchat compare -m A -m B "PROMPT".'
        )
    layers = sampling_layers(context)
    prompt = await prompt_of(context)

    comparisons: list[dict[str, Any]] = []  # what `_measure` has returned for each model so far
    async with open_home(context, options.models) as (home, models):
        messages = prompt_messages(prompt, context.settings.chat.system_prompt)
        try:
            for model in models:
                heading = f"## {model.model_id}"
                if output.is_json:  # stdout gets the JSON document only
                    output.note(heading)
                else:
                    output.print_lines(["", heading] if comparisons else [heading])
                sampling = layers.values({}, model.model_id)  # no options of a session
                job = Job(model=model, messages=messages, options=sampling)
                comparisons.append(await _measure(context, home, job))
        finally:  # also after Ctrl+C
            if comparisons and output.is_json:
                output.print_json({"prompt": prompt, "models": comparisons})
            elif comparisons:
                rows = [
                    (
                        " instead of ".join(names_in(measured, "").values()),
                        "" if measured["load_s"] is None else f"{measured['load_s']:.1f} s",
                        *stats_cells(*(measured[name] for name in _STATS)),
                        "failed" if measured["detail"] else "",
                    )
                    for measured in comparisons
                ]
                output.print_lines(["", *table(("MODEL", "LOAD", *STATS, ""), rows)])
    # `detail` is the error of a model; None if it has answered
    return 1 if any(measured["detail"] for measured in comparisons) else 0


async def _measure(context: Context, home: Home, job: Job) -> dict[str, Any]:
    """Load a model, ask it as often as `--runs` says, and return what `--json` prints of it.

    Only the first answer is printed, and a note if loading or an answer failed. The first error
    ends the runs: it becomes the `detail`; the stats are the medians of the runs so far.
    """
    output = context.output
    model = job.model
    printer = TurnPrinter(output, asked_model=model.model_id)
    answers: list[Answer] = []

    load_s = failure = None
    try:
        load_s = await load_shown(home.load, model, output)
    except LMChatError as error:
        failure = error
    while failure is None and len(answers) < context.options.runs:
        try:
            # events of later answers are not printed
            print_event = (lambda _: None) if answers else printer.print_event
            async with printer.events_shown(print_event) as show:
                stuck = context.settings.chat.stuck
                answers.append(await answer_to(job, home.client, show, stuck=stuck))
        finally:
            printer.end()
        failure = answers[-1].error
    if failure is not None:
        context.note(failure.message_with_next_step)
    else:
        printer.print_notes_on(replace(answers[0].message, stats=answers[0].stats))
    stats_of_runs = [answer.stats for answer in answers]
    return {
        **names_in(record_of(job, answers[0]) if answers else {}, model.model_id),
        "endpoint": model.endpoint.url,
        "runs": len(answers),  # how often it was asked
        "load_s": rounded(load_s),
        **{
            name: rounded_median([getattr(stats, name) for stats in stats_of_runs])
            for name in _STATS
        },
        "sampling": stats_of_runs[0].sampling if stats_of_runs else {},
        "prompt_cut": any(stats.is_prompt_cut for stats in stats_of_runs),
        **({"stuck": True} if any(answer.is_stuck for answer in answers) else {}),
        "reply": answers[0].text if answers else "",
        "detail": failure_detail(failure) if failure else None,
    }
