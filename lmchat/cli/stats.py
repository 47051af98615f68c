"""`lmchat stats` and `lmchat metrics`."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.cli.context import Context
from lmchat.cli.output import local_time, table
from lmchat.cli.wiring import open_store
from lmchat.domain.telemetry import Metrics
from lmchat.services.turn_stats import ModelFigures, Spread, figures_by_model
from lmchat.text import plural

_SPREADS = ("TTFT p50", "p95", "TOK/S p50", "p95", "TIME p50", "p95")
_HEAD = ("MODEL", "SERVER", "ANSWERS", "COMPLETE", *_SPREADS, "LAST")
_BAR_CELLS = 40  # of the longest bar of a plot
_MAX_DAYS = 30  # with a turn, in a plot


async def stats(context: Context) -> int:
    """Print figures by model and server, the one used last first."""
    async with open_store(context) as store:
        found = figures_by_model(await store.ledger_rows())

    def lay_out() -> list[str]:
        if context.options.plot:
            return _plots(found)
        return table(_HEAD, [_row(figures) for figures in found])

    empty = "No answers yet. Ask something first."
    return context.output.listing(found, lay_out, empty)


def _row(figures: ModelFigures) -> tuple[str, ...]:
    return (
        figures.model,
        f"{figures.product} {figures.endpoint}",
        str(figures.turns),
        f"{100 * figures.complete / figures.turns:.0f} %",
        *_pair(figures.ttft_ms, "{:.2f} s", 1e-3),
        *_pair(figures.tokens_per_second, "{:.1f}"),
        *_pair(figures.elapsed_ms, "{:.1f} s", 1e-3),
        local_time(figures.last) if figures.last else "",
    )


def _pair(spread: Spread | None, form: str, factor: float = 1.0) -> tuple[str, str]:
    if spread is None:
        return "", ""
    return form.format(spread.p50 * factor), form.format(spread.p95 * factor)


def _plots(found: Sequence[ModelFigures]) -> list[str]:
    lines: list[str] = []
    for figures in found:
        separator = [""] if lines else []
        lines += [*separator, *_plot(figures)]
    return lines


def _plot(figures: ModelFigures) -> list[str]:
    """Return a heading, and a bar for each day."""
    lines = [f"{figures.model} at {figures.endpoint}: tok/s, the median of each day"]
    days = figures.days[-_MAX_DAYS:]
    fastest = max((day.tokens_per_second or 0.0 for day in days), default=0.0) or 1.0
    for day in days:
        speed = day.tokens_per_second
        figure = "" if speed is None else f"{speed:.1f}"
        bar = "#" * round(_BAR_CELLS * (speed or 0.0) / fastest)
        answers = plural(day.turns, "answer")
        lines.append(f"{day.day.isoformat()}  {figure:>7}  {bar:<{_BAR_CELLS}}  {answers}")
    return lines


async def show(context: Context) -> int:
    """Print the counters."""
    async with open_store(context) as store:
        context.output.document(metrics_json(await store.metrics.load()))
    return 0


async def reset(context: Context) -> int:
    """Set the counters to 0."""
    async with open_store(context) as store:
        await store.metrics.reset()
    context.output.document({"message": "Metrics reset successfully"})
    return 0


def metrics_json(metrics: Metrics) -> dict[str, object]:
    """Return the counters as JSON; times are in milliseconds."""
    return {
        "totalRequests": metrics.total_requests,
        "successfulRequests": metrics.successful_requests,
        "failedRequests": metrics.failed_requests,
        "averageResponseTime": round(metrics.average_response_ms, 1),
        "cacheHits": metrics.cache_hits,
        "cacheMisses": metrics.cache_misses,
        "stoppedRequests": metrics.stopped_requests,
        "retries": metrics.retries,
        "refusedRequests": metrics.refused_requests,
    }
