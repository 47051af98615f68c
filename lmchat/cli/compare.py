"""`lmchat compare`: one prompt for several models in turn, with their answers and figures."""

from __future__ import annotations

from statistics import median
from time import monotonic
from typing import Any

from msgspec import Struct

from lmchat.cli.ask import prompt_of
from lmchat.cli.context import Context
from lmchat.cli.models import list_of_models, model_named
from lmchat.cli.output import Output, SafeStream, failure_detail, rounded, table
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.domain.event import RefusalDelta, StreamEvent, TextDelta
from lmchat.domain.message import Receipt, Role, text_message
from lmchat.domain.model_names import cannot_chat
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import LoadState, ModelInfo
from lmchat.domain.turn import WholeAnswer
from lmchat.errors import LMChatError, WrongUse
from lmchat.services.turn_options import sampling_of
from lmchat.text import safe_line

_FEWEST = 2


class _Run(Struct, frozen=True, kw_only=True):
    """One answer, or why there is none."""

    reply: str
    receipt: Receipt
    error: LMChatError | None = None


async def compare(context: Context) -> int:
    """Print the answers and figures of all models; exit 1 if one of them failed."""
    options, output = context.options, context.output
    if len(options.models) < _FEWEST:
        raise WrongUse(
            "Name at least two models.", hint='Example: lmchat compare -m A -m B "PROMPT".'
        )
    prompt = await prompt_of(context)
    found: list[dict[str, Any]] = []
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
                output.text(f"\n{heading}" if found else heading)
            load_s, error = await _load(runtime, model, output)
            runs = [] if error else [await _run(runtime, model, prompt, output)]
            while runs and len(runs) < options.runs and runs[0].error is None:
                runs.append(await _run(runtime, model, prompt, None))
            found.append(_summed(model, load_s, runs, error))
    if output.is_json:
        output.document({"prompt": prompt, "models": found})
    else:
        output.text(f"\n{_table(found)}")
    return int(any(one["detail"] for one in found))


async def _load(
    runtime: Runtime, model: ModelInfo, output: Output
) -> tuple[float | None, LMChatError | None]:
    """Load a model that is not loaded, where the server can; return the time in seconds."""
    if model.state is not LoadState.NOT_LOADED:
        return None, None
    started_s = monotonic()
    try:
        await runtime.backend.load(
            model, on_progress=lambda fraction: output.live(f"{fraction:.0%}")
        )
    except LMChatError as error:
        if error.kind == "unsupported":
            return (
                None,
                None,
            )  # it loads with the first request, and the time to the first token tells
        output.failure(error)
        return None, error
    finally:
        output.live("")
    return monotonic() - started_s, None


async def _run(runtime: Runtime, model: ModelInfo, prompt: str, shown: Output | None) -> _Run:
    """Ask once; the answer is printed while it arrives, unless `shown` is None or JSON is wanted."""
    chat = runtime.settings.chat
    opening = [text_message(Role.SYSTEM, chat.system_prompt)] if chat.system_prompt else []
    request = ChatRequest(
        endpoint=model.endpoint,
        product=model.product,
        model=model.model_id,
        messages=(*opening, text_message(Role.USER, prompt)),
        sampling=sampling_of(chat),
    )
    stream = SafeStream() if shown is not None and not shown.is_json else None

    def show(event: StreamEvent) -> None:
        if stream is not None and isinstance(event, TextDelta | RefusalDelta):
            stream.write(event.text)

    answer, failure = WholeAnswer(request.model), None
    try:
        await answer.read(runtime.backend.stream(request), show)
    except LMChatError as error:
        failure = error
        if shown is not None:
            shown.note(f"lmchat: {safe_line(error.words)}")
    if stream is not None:
        stream.end()
    receipt = answer.turn.receipt(context=model.context, max_tokens=chat.max_tokens)
    return _Run(reply=answer.growing.text("text", "refusal"), receipt=receipt, error=failure)


def _summed(
    model: ModelInfo, load_s: float | None, runs: list[_Run], error: LMChatError | None
) -> dict[str, Any]:
    """Return the medians of a model's runs, and its first answer."""
    failure = error or next((run.error for run in runs if run.error), None)

    def middle(name: str) -> float | None:
        values = [value for run in runs if (value := getattr(run.receipt, name)) is not None]
        return rounded(median(values)) if values else None

    return {
        "model": model.model_id,
        "endpoint": model.endpoint.url,
        "runs": len(runs),
        "load_s": rounded(load_s),
        "ttft_ms": middle("ttft_ms"),
        "tokens_per_second": middle("tokens_per_second"),
        "completion_tokens": middle("completion_tokens"),
        "elapsed_ms": middle("elapsed_ms"),
        "reply": runs[0].reply if runs else "",
        "detail": failure_detail(failure) if failure else None,
    }


def _table(found: list[dict[str, Any]]) -> str:
    def figure(value: float | None, unit: str, scale: float = 1.0) -> str:
        return "" if value is None else f"{value / scale:.{0 if unit == '' else 1}f}{unit}"

    rows = [
        (
            one["model"],
            figure(one["load_s"], " s"),
            figure(one["ttft_ms"], " s", 1e3),
            figure(one["tokens_per_second"], " tok/s"),
            figure(one["completion_tokens"], ""),
            figure(one["elapsed_ms"], " s", 1e3),
            "failed" if one["detail"] else "",
        )
        for one in found
    ]
    return table(("MODEL", "LOAD", "FIRST TOKEN", "SPEED", "TOKENS", "TIME", ""), rows)
