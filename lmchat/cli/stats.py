"""`lmchat stats` and `lmchat metrics`."""

from __future__ import annotations

from lmchat.cli.context import Context
from lmchat.cli.output import minute, table
from lmchat.cli.wiring import open_store
from lmchat.domain.telemetry import Metrics
from lmchat.services.turn_stats import ModelFigures, Spread, figures_by_model
from lmchat.text import safe_line

_SPREADS = ("TTFT p50", "p95", "TOK/S p50", "p95", "TIME p50", "p95")
_HEAD = ("MODEL", "SERVER", "ANSWERS", "COMPLETE", *_SPREADS, "LAST")
_BAR = 40  # cells of the longest bar of a plot
_DAYS = 30  # days with a turn that a plot shows, at most


async def stats(context: Context) -> int:
    """Print figures by model and server, the one used last first."""
    async with open_store(context) as store:
        found = figures_by_model(await store.ledger_rows())

    def lay_out() -> str:
        if context.options.plot:
            return "\n\n".join(_plot(one) for one in found)
        return table(_HEAD, [_row(one) for one in found])

    empty = "No answers yet. Ask something first."
    return context.output.listing(found, lay_out, empty)


def _row(one: ModelFigures) -> tuple[str, ...]:
    return (
        one.model,
        f"{one.product} {one.endpoint}",
        str(one.turns),
        f"{100 * one.complete / one.turns:.0f} %",
        *_pair(one.ttft_ms, "{:.2f} s", 1e-3),
        *_pair(one.tokens_per_second, "{:.1f}"),
        *_pair(one.elapsed_ms, "{:.1f} s", 1e-3),
        minute(one.last) if one.last else "",
    )


def _pair(spread: Spread | None, form: str, factor: float = 1.0) -> tuple[str, str]:
    if spread is None:
        return "", ""
    return form.format(spread.p50 * factor), form.format(spread.p95 * factor)


def _plot(one: ModelFigures) -> str:
    days = one.days[-_DAYS:]
    fastest = max((day.tokens_per_second or 0.0 for day in days), default=0.0) or 1.0
    lines = [f"{safe_line(one.model)} at {safe_line(one.endpoint)}: tok/s, the median of each day"]
    for day in days:
        speed = day.tokens_per_second
        figure = "" if speed is None else f"{speed:.1f}"
        bar = "#" * round(_BAR * (speed or 0.0) / fastest)
        answers = "1 answer" if day.turns == 1 else f"{day.turns} answers"
        lines.append(f"{day.day.isoformat()}  {figure:>7}  {bar:<{_BAR}}  {answers}")
    return "\n".join(lines)


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
