"""Text of `/stats`: the counters of this run, and the speed of each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from lmchat.domain.message import now
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.errors import LMChatError
from lmchat.services.turn_stats import ModelFigures, Spread, figures_by_model
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui import formatting

_LEDGER_DAYS = 90  # period of the figures by model; `lmchat stats` shows all of the ledger
_NAME_WIDTH = 24  # cells
_VALUE_WIDTH = 12


async def statistics_text(workspace: Workspace) -> str:
    """Return the statistics of this run, and below them those of each model from the ledger.

    If the ledger cannot be read, the text says why.
    """
    run = _run_text(workspace.backend.metrics(), workspace.backend.budget())
    try:
        rows = await workspace.store.ledger_rows(since=now() - timedelta(days=_LEDGER_DAYS))
    except LMChatError as error:
        models = error.message
    else:
        models = _models_text(figures_by_model(rows))
    return f"This run\n{run}\n\n{models}".rstrip()


def _run_text(metrics: Metrics, budget: Budget | None) -> str:
    """Return the counters of this run's requests, one a line."""
    list_requests = metrics.cache_hits + metrics.cache_misses
    return _lines(
        ("requests", str(metrics.total_requests)),
        ("ok", str(metrics.successful_requests)),
        ("failed", str(metrics.failed_requests)),
        ("stopped", str(metrics.stopped_requests)),
        ("rejected by lmchat", str(metrics.refused_requests)),
        ("retries", str(metrics.retries)),
        ("average time", formatting.elapsed(metrics.average_response_ms / 1000)),
        ("model lists from cache", f"{metrics.cache_hits} of {list_requests}"),
        ("requests left", f"{budget.left} of {budget.limit}" if budget else formatting.UNKNOWN),
    )


def _models_text(models: Sequence[ModelFigures]) -> str:
    """Return a heading and one paragraph of figures per model; empty if no model has answered."""
    if not models:
        return ""
    paragraphs = "\n\n".join(map(_model_text, models))
    return f"Last {_LEDGER_DAYS} days (median, 95th percentile)\n{paragraphs}"


def _model_text(figures: ModelFigures) -> str:
    """Return a model with its product and address, and below it its figures, one a line."""
    rows = _lines(
        ("answers", f"{figures.turns}, {figures.complete} ok"),
        ("first token", _spread_text(figures.ttft_ms, _exact_time)),
        ("speed", _spread_text(figures.tokens_per_second, formatting.rate)),
        ("prompt speed", _spread_text(figures.prompt_tokens_per_second, formatting.rate)),
        ("time", _spread_text(figures.elapsed_ms, _elapsed)),
    )
    heading = safe_line(f"{figures.model} · {figures.product} · {figures.endpoint}")
    return f"{heading}\n{rows}"


def _spread_text(spread: Spread | None, format_value: Callable[[float], str]) -> str:
    """Return the median and the 95th percentile of a figure as text; `–` if it is not known."""
    if spread is None:
        return formatting.UNKNOWN
    return f"{format_value(spread.p50)}, {format_value(spread.p95)}"


def _exact_time(value_ms: float) -> str:
    return formatting.exact_time(value_ms / 1000)


def _elapsed(value_ms: float) -> str:
    return formatting.elapsed(value_ms / 1000)


def _lines(*rows: tuple[str, str]) -> str:
    """Return rows of a name and a value, the values aligned at the right."""
    return "\n".join(f"{name:<{_NAME_WIDTH}}{value:>{_VALUE_WIDTH}}" for name, value in rows)
