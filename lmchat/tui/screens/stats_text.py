"""What `/stats` shows: the counters of this run, and how fast each model was over the last weeks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lmchat.domain.telemetry import Budget, Metrics
from lmchat.services.turn_stats import ModelFigures, Spread
from lmchat.text import safe_line
from lmchat.tui import formatting

_NAME, _VALUE = 24, 12


def run_text(metrics: Metrics, budget: Budget | None) -> str:
    """Return the counters of the layer that talks to servers."""
    return _lines(
        ("requests", str(metrics.total_requests)),
        ("ok", str(metrics.successful_requests)),
        ("failed", str(metrics.failed_requests)),
        ("stopped", str(metrics.stopped_requests)),
        ("refused unsent", str(metrics.refused_requests)),
        ("retries", str(metrics.retries)),
        ("mean time", formatting.elapsed(metrics.average_response_ms / 1e3)),
        ("model lists from cache", f"{metrics.cache_hits} of {metrics.cache_hits + metrics.cache_misses}"),
        ("limiter", f"{budget.left} of {budget.limit} left" if budget else formatting.UNKNOWN),
    )


def models_text(models: Sequence[ModelFigures]) -> str:
    """Return the figures of each model, a paragraph each; nothing where none has answered."""
    return "\n\n".join(_model_text(one) for one in models)


def _model_text(one: ModelFigures) -> str:
    rows = _lines(
        ("turns", f"{one.turns}, {one.complete} ok"),
        ("TTFT p50, p95", _pair(one.ttft_ms, lambda ms: formatting.first_token(ms / 1e3))),
        ("speed p50, p95", _pair(one.tokens_per_second, formatting.rate)),
        ("reading p50, p95", _pair(one.prompt_tokens_per_second, formatting.rate)),
        ("time p50, p95", _pair(one.elapsed_ms, lambda ms: formatting.elapsed(ms / 1e3))),
    )
    return f"{safe_line(one.model)} · {safe_line(one.product)} · {safe_line(one.endpoint)}\n{rows}"


def _pair(spread: Spread | None, write: Callable[[float], str]) -> str:
    return formatting.UNKNOWN if spread is None else f"{write(spread.p50)}, {write(spread.p95)}"


def _lines(*rows: tuple[str, str]) -> str:
    return "\n".join(f"{name:<{_NAME}}{value:>{_VALUE}}" for name, value in rows)
