"""`lmchat stats` and `lmchat metrics`."""

from __future__ import annotations

from lmchat.answers.stats_table import stats_table
from lmchat.cli.context import Context
from lmchat.cli.setup.open_store import open_stores
from lmchat.metrics import METRICS_RESET
from lmchat.servers.as_json import metrics_json
from lmchat.sessions.model_stats import ModelStats
from lmchat.terminal.output import terminal_columns
from lmchat.units import counted

_BAR_CELLS = 40  # length of the longest bar of a plot
_MAX_DAYS = 30  # in a plot; days without an answer do not count


async def stats(context: Context) -> int:
    """Print the stats of each model at each server, the last used first."""
    async with open_stores(context) as stores:
        models = await stores.stats_store.model_stats()
    lines: list[str] = []
    if context.options.plot:
        for one in models:
            lines += ["", *_plot(one)]
        del lines[:1]
    else:
        lines = stats_table(models, width=terminal_columns())
    empty_note = "No answers yet. Ask something first."
    return context.output.print_list(models, lines, empty_note)


def _plot(stats: ModelStats) -> list[str]:
    """Plot the last days of a model.

    A line has the median speed, a bar, and the number of answers. The bar of the fastest day is
    full; a day without a known speed has none.
    """
    lines = [f"{stats.model} at {stats.endpoint}: tok/s, the median of each day"]
    days = stats.days[-_MAX_DAYS:]
    speeds = [day.tokens_per_second or 0.0 for day in days]
    top_speed = max(speeds, default=0.0) or 1.0  # to divide by it
    for day, speed in zip(days, speeds, strict=True):
        known = "" if day.tokens_per_second is None else f"{speed:.1f}"
        bar = "#" * round(_BAR_CELLS * speed / top_speed)
        answers = counted(day.turns, "answer")
        lines.append(f"{day.day.isoformat()}  {known:>7}  {bar:<{_BAR_CELLS}}  {answers}")
    return lines


async def metrics(context: Context) -> int:
    async with open_stores(context) as stores:
        context.output.print_json(metrics_json(await stores.stats_store.counters()))
    return 0


async def reset_metrics(context: Context) -> int:
    async with open_stores(context) as stores:
        await stores.stats_store.reset_counters()
    context.output.print_json({"message": METRICS_RESET})
    return 0
