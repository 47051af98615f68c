"""`lmchat compare`: one prompt for several models in turn, with their answers and figures."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from time import monotonic

from msgspec import Struct

from lmchat.cli.context import Context
from lmchat.cli.models import list_of_models, load_with_progress, model_named
from lmchat.cli.output import Output, failure_detail, rounded, table
from lmchat.cli.prompt import prompt_of
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.domain.event import ModelLoading, StreamEvent
from lmchat.domain.message import Receipt, Role, text_message
from lmchat.domain.model_names import cannot_chat
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import LoadState, ModelInfo
from lmchat.domain.turn import WholeAnswer
from lmchat.errors import LMChatError, WrongUse
from lmchat.services.turn_options import sampling_of

_MIN_MODELS = 2


class _Run(Struct, frozen=True, kw_only=True):
    """One answer, or what came of it before an error."""

    reply: str
    receipt: Receipt
    error: LMChatError | None = None


class _Comparison(Struct, frozen=True, kw_only=True):
    """Medians of a model's runs, and its first answer, as `--json` prints them."""

    model: str
    endpoint: str
    runs: int
    load_s: float | None
    ttft_ms: float | None
    tokens_per_second: float | None
    completion_tokens: float | None
    elapsed_ms: float | None
    reply: str
    detail: dict[str, str] | None  # why a run failed


async def compare(context: Context) -> int:
    """Print the answers and figures of all models; exit 1 if one of them failed."""
    options, output = context.options, context.output
    if len(options.models) < _MIN_MODELS:
        hint = 'Example: lmchat compare -m A -m B "PROMPT".'
        raise WrongUse("Name at least two models.", hint=hint)
    prompt = await prompt_of(context)

    found: list[_Comparison] = []
    async with open_runtime(context, is_kept=False) as runtime:
        listed = await list_of_models(runtime, is_refresh=True)
        models = [model_named(name, listed) for name in options.models]
        for model in models:
            if not model.can_chat:
                raise cannot_chat(model)
        for model in models:
            heading = f"## {model.model_id}"
            if output.is_json:
                output.note(heading)
            else:
                output.lines(["", heading] if found else [heading])
            found.append(await _measure(context, runtime, model, prompt))

    if output.is_json:
        output.document({"prompt": prompt, "models": found})
    else:
        output.lines(["", *_table(found)])
    return int(any(comparison.detail for comparison in found))


async def _measure(
    context: Context, runtime: Runtime, model: ModelInfo, prompt: str
) -> _Comparison:
    """Load a model, and ask it; only the first answer is printed."""
    output = context.output
    runs: list[_Run] = []
    load_s = None
    try:
        load_s = await _load(runtime, model, output)
        printer = TurnPrinter(output, asked_model=model.model_id)
        runs.append(await _run(runtime, model, prompt, printer))
        failure = runs[0].error
    except LMChatError as error:
        failure = error
    if failure is not None:
        output.note(f"lmchat: {failure.message_with_hint}")

    while failure is None and len(runs) < context.options.runs:
        runs.append(await _run(runtime, model, prompt, None))
        failure = runs[-1].error
    return _Comparison(
        model=model.model_id,
        endpoint=model.endpoint.url,
        runs=len(runs),
        load_s=rounded(load_s),
        ttft_ms=_median([run.receipt.ttft_ms for run in runs]),
        tokens_per_second=_median([run.receipt.tokens_per_second for run in runs]),
        completion_tokens=_median([run.receipt.completion_tokens for run in runs]),
        elapsed_ms=_median([run.receipt.elapsed_ms for run in runs]),
        reply=runs[0].reply if runs else "",
        detail=failure_detail(failure) if failure else None,
    )


async def _load(runtime: Runtime, model: ModelInfo, output: Output) -> float | None:
    """Load a model that is not loaded; return the time in seconds, None where it was not loaded."""
    if model.state is not LoadState.NOT_LOADED:
        return None
    started_s = monotonic()
    try:
        await load_with_progress(runtime, model, output)
    except LMChatError as error:
        if error.kind == "unsupported":  # the server loads it with the first request
            return None
        raise
    return monotonic() - started_s


async def _run(
    runtime: Runtime, model: ModelInfo, prompt: str, printer: TurnPrinter | None
) -> _Run:
    """Ask once; the answer is printed while it arrives, if there is a printer."""
    chat = runtime.settings.chat
    opening = [text_message(Role.SYSTEM, chat.system_prompt)] if chat.system_prompt else []
    request = ChatRequest(
        endpoint=model.endpoint,
        product=model.product,
        model=model.model_id,
        messages=(*opening, text_message(Role.USER, prompt)),
        sampling=sampling_of(chat),
    )

    def show(event: StreamEvent) -> None:
        # models are loaded before they are asked, as far as the server supports it
        if printer is not None and not isinstance(event, ModelLoading):
            printer.show(event)

    answer = WholeAnswer(request.model)
    failure = None
    try:
        await answer.read(runtime.backend.stream(request), show)
    except LMChatError as error:
        failure = error
    finally:
        if printer is not None:
            printer.end()
    receipt = answer.turn.receipt(context=model.context, max_tokens=chat.max_tokens)
    return _Run(reply=answer.growing.text("text", "refusal"), receipt=receipt, error=failure)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(median(known)) if known else None


def _table(found: Sequence[_Comparison]) -> list[str]:
    head = ("MODEL", "LOAD", "FIRST TOKEN", "SPEED", "TOKENS", "TIME", "")
    rows = [
        (
            comparison.model,
            _figure(comparison.load_s, "{:.1f} s"),
            _figure(comparison.ttft_ms, "{:.1f} s", 1e-3),
            _figure(comparison.tokens_per_second, "{:.1f} tok/s"),
            _figure(comparison.completion_tokens, "{:.0f}"),
            _figure(comparison.elapsed_ms, "{:.1f} s", 1e-3),
            "failed" if comparison.detail else "",
        )
        for comparison in found
    ]
    return table(head, rows)


def _figure(value: float | None, form: str, factor: float = 1.0) -> str:
    return "" if value is None else form.format(value * factor)
