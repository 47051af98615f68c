"""All rows, in the order of the table."""

from __future__ import annotations

from tests.benchmarks.bench import Bench, Row
from tests.benchmarks.idle_rows import idle
from tests.benchmarks.log_rows import find, long, soak
from tests.benchmarks.look_rows import cancel, detect
from tests.benchmarks.proxy_rows import append, models, proxy
from tests.benchmarks.search_rows import search
from tests.benchmarks.start_rows import commands, large, start, version
from tests.benchmarks.store_rows import killed
from tests.benchmarks.stream_rows import echo, flood, growth, scroll, stop, stream

__all__ = ["GROUPS", "ROWS", "Bench", "Row"]

ROWS = {
    "version": version,
    "start": start,
    "large": large,
    "stream": stream,
    "growth": growth,
    "flood": flood,
    "echo": echo,
    "stop": stop,
    "scroll": scroll,
    "find": find,
    "long": long,
    "idle": idle,
    "soak": soak,
    "proxy": proxy,
    "models": models,
    "append": append,
    "killed": killed,
    "search": search,
    "commands": commands,
    "detect": detect,
    "cancel": cancel,
}

_AT = list(ROWS).index("proxy")
GROUPS = {"screen": tuple(ROWS)[:_AT], "behind": tuple(ROWS)[_AT:]}
"""Names for several rows: start-up, log, prompt and memory; and what stands behind the screen."""
