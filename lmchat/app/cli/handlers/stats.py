"""`lmchat stats` and `lmchat metrics`."""

from __future__ import annotations

from lmchat.app.cli.as_json import metrics_json
from lmchat.app.cli.context import Context
from lmchat.app.commands.stats_table import stats_table
from lmchat.app.terminal.output import terminal_columns
from lmchat.base.metrics import METRICS_RESET
from lmchat.core.library.stores import open_stores


async def stats(context: Context) -> int:
    """Print the stats of each model at each server, the last used first."""
    async with open_stores(context.paths, note=context.note) as stores:
        models = await stores.stats_store.model_stats()
    empty_note = "No answers yet. Ask something first."
    lines = stats_table(models, width=terminal_columns())
    return context.output.print_list(models, lines, empty_note)


async def metrics(context: Context) -> int:
    async with open_stores(context.paths, note=context.note) as stores:
        context.output.print_json(metrics_json(await stores.stats_store.counters()))
    return 0


async def reset_metrics(context: Context) -> int:
    async with open_stores(context.paths, note=context.note) as stores:
        await stores.stats_store.reset_counters()
    context.output.print_json({"message": METRICS_RESET})
    return 0
