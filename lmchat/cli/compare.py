"""`lmchat compare`: one prompt for several models in turn, with their answers and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from lmchat.chat.once import SingleAnswer, answer_of, single_request
from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.cli.context import Context
from lmchat.cli.jobs import rounded_median
from lmchat.cli.models import fetch_models, load_if_needed, model_named
from lmchat.cli.prompt import prompt_of
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.errors import LMChatError, WrongUse
from lmchat.servers.events import ModelLoading, StreamEvent
from lmchat.servers.model import ModelInfo, cannot_chat
from lmchat.servers.products import refuse_ignored
from lmchat.sessions.message import Role, text_message
from lmchat.terminal.output import failure_detail, rounded, table

_MIN_MODELS = 2
_MS_TO_S = 1e-3


class _Comparison(Struct, frozen=True, kw_only=True):
    """Medians of the runs of one model, and its first answer; `--json` prints these fields."""

    model: str
    endpoint: str
    runs: int  # how often it was asked
    load_s: float | None
    ttft_ms: float | None
    tokens_per_second: float | None
    completion_tokens: float | None
    elapsed_ms: float | None
    sampling: Mapping[str, object]  # options that were sent, by name
    reply: str
    detail: dict[str, str] | None  # why a run failed


async def compare(context: Context) -> int:
    """Print the answers and figures of all models; return 1 if one of them failed, else 0.

    Raises `WrongUse` before any model is asked, if fewer than two are named, if no server has one
    of them, or if one cannot chat or is known to ignore an option of the command line.
    """
    options, output = context.options, context.output
    if len(options.models) < _MIN_MODELS:
        hint = 'Example: lmchat compare -m A -m B "PROMPT".'
        raise WrongUse("Name at least two models.", hint=hint)
    layers = sampling_layers(context)
    prompt = await prompt_of(context)

    comparisons: list[_Comparison] = []
    async with open_runtime(context, is_saved=False) as runtime:
        model_list = await fetch_models(runtime, output.note, is_refresh=True)
        models = [model_named(name, model_list) for name in options.models]
        for model in models:
            if not model.can_chat:
                raise cannot_chat(model)
            refuse_ignored(model.product, layers.command_line)
        try:
            for model in models:
                heading = f"## {model.model_id}"
                if output.is_json:  # stdout gets the JSON document only
                    output.note(heading)
                else:
                    output.print_lines(["", heading] if comparisons else [heading])
                comparisons.append(await _measure(context, runtime, layers, model, prompt))
        finally:  # also after Ctrl+C
            if comparisons and output.is_json:
                output.print_json({"prompt": prompt, "models": comparisons})
            elif comparisons:
                output.print_lines(["", *_table(comparisons)])
    has_failed = any(comparison.detail for comparison in comparisons)
    return 1 if has_failed else 0


async def _measure(
    context: Context, runtime: Runtime, layers: SamplingLayers, model: ModelInfo, prompt: str
) -> _Comparison:
    """Load a model, ask it as often as `--runs` says, and return the medians of its figures.

    Only the first answer is printed, and a note if loading or an answer failed. The first error
    ends the runs: it becomes the `detail` of the result, whose medians are of the runs so far.
    """
    output = context.output
    runs: list[SingleAnswer] = []
    load_s = None
    try:
        load_s = await load_if_needed(runtime, model, output)
        printer = TurnPrinter(output, asked_model=model.model_id)
        runs.append(await _ask_once(runtime, layers, model, prompt, printer))
        failure = runs[0].error
    except LMChatError as error:
        failure = error
    while failure is None and len(runs) < context.options.runs:
        runs.append(await _ask_once(runtime, layers, model, prompt, None))
        failure = runs[-1].error
    if failure is not None:
        output.note(f"lmchat: {failure.message_with_hint}")
    return _Comparison(
        model=model.model_id,
        endpoint=model.endpoint.url,
        runs=len(runs),
        load_s=rounded(load_s),
        ttft_ms=rounded_median([run.stats.ttft_ms for run in runs]),
        tokens_per_second=rounded_median([run.stats.tokens_per_second for run in runs]),
        completion_tokens=rounded_median([run.stats.completion_tokens for run in runs]),
        elapsed_ms=rounded_median([run.stats.elapsed_ms for run in runs]),
        sampling=runs[0].stats.sampling if runs else {},
        reply=runs[0].reply if runs else "",
        detail=failure_detail(failure) if failure else None,
    )


async def _ask_once(
    runtime: Runtime,
    layers: SamplingLayers,
    model: ModelInfo,
    prompt: str,
    printer: TurnPrinter | None,
) -> SingleAnswer:
    """Ask a model once and return its answer with the figures, and with the error that ended it.

    If there is a printer, it prints the answer while it arrives.
    """
    chat = runtime.settings.chat
    messages = [text_message(Role.USER, prompt)]
    if chat.system_prompt:
        messages.insert(0, text_message(Role.SYSTEM, chat.system_prompt))
    options = layers.values({}, model.model_id)
    request = single_request(model, messages, options, keep_loaded_s=chat.keep_loaded_s)

    def show(event: StreamEvent) -> None:
        # Loading is not noted: `load_if_needed` has loaded the model, or the server loads it now
        # and the time until the first token shows that.
        if printer is not None and not isinstance(event, ModelLoading):
            printer.show(event)

    try:
        return await answer_of(runtime.backend, request, model, show)
    finally:
        if printer is not None:
            printer.end()


def _table(comparisons: Sequence[_Comparison]) -> list[str]:
    """Return the lines of the table: one row a model, times in seconds."""
    head = ("MODEL", "LOAD", "FIRST TOKEN", "SPEED", "TOKENS", "TIME", "")
    rows = [
        (
            comparison.model,
            _figure(comparison.load_s, "{:.1f} s"),
            _figure(comparison.ttft_ms, "{:.1f} s", _MS_TO_S),
            _figure(comparison.tokens_per_second, "{:.1f} tok/s"),
            _figure(comparison.completion_tokens, "{:.0f}"),
            _figure(comparison.elapsed_ms, "{:.1f} s", _MS_TO_S),
            "failed" if comparison.detail else "",
        )
        for comparison in comparisons
    ]
    return table(head, rows)


def _figure(value: float | None, template: str, factor: float = 1.0) -> str:
    """Return the template filled with the value times the factor; an empty text for None."""
    return "" if value is None else template.format(value * factor)
