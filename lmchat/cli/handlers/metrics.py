"""`lmchat metrics`."""

from __future__ import annotations

from lmchat.cli.context import Context
from lmchat.cli.setup.open_store import open_stores
from lmchat.metrics import METRICS_RESET
from lmchat.servers.as_json import metrics_json


async def metrics(context: Context) -> int:
    """Print the counters of all runs as JSON."""
    async with open_stores(context) as stores:
        context.output.print_json(metrics_json(await stores.stats_store.counters()))
    return 0


async def reset(context: Context) -> int:
    """Set the counters to 0, and print that as JSON."""
    async with open_stores(context) as stores:
        await stores.stats_store.reset_counters()
    context.output.print_json({"message": METRICS_RESET})
    return 0
