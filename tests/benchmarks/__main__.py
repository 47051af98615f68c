"""`python -m tests.benchmarks [ROW…] [--runs N]`: figures beside their baselines, from one run.

Ratios are of medians. This is no test: times depend on the machine, ratios hardly do.
Exit code: 1 if a figure exceeds its limit (must), else 0.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.bench import MISSED, Bench, Row, verdict
from tests.benchmarks.client_rows import client, detect, models
from tests.benchmarks.idle_rows import idle
from tests.benchmarks.log_rows import find, megabyte
from tests.benchmarks.start_rows import commands, large, start, version
from tests.benchmarks.store_rows import append, search
from tests.benchmarks.stream_rows import echo, flood, growth, memory, scroll, stop, stream

_SCREEN = (
    version,
    start,
    large,
    stream,
    growth,
    flood,
    memory,
    echo,
    stop,
    scroll,
    find,
    megabyte,
    idle,
)
_BEHIND = (client, models, append, search, commands, detect)
ROWS = {measure.__name__: measure for measure in (*_SCREEN, *_BEHIND)}
GROUPS = {
    "screen": tuple(measure.__name__ for measure in _SCREEN),
    "behind": tuple(measure.__name__ for measure in _BEHIND),
}
"""Names for several rows: start-up, log, prompt and memory; and what stands behind the screen."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = ", ".join(
        (*ROWS, *(f"{name} (all of: {' '.join(rows)})" for name, rows in GROUPS.items()))
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {names}; without one, all")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    wanted = [row for name in options.rows or ROWS for row in GROUPS.get(name, [name])]
    if unknown := [name for name in wanted if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}")
    load = os.getloadavg()
    started_s = time.perf_counter()
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.runs)
        print(
            f"This machine takes {bench.slowness:.1f} times as long; limits of times are wider by that."
        )
        _print("figure", "value", "must", "verdict")
        for name in wanted:
            for row in ROWS[name](bench):
                row["verdict"] = verdict(row["value"], row["must"], bench.slowness)
                _print(*row.values())
                found.append(row)
    missed = [row for row in found if row["verdict"] == MISSED]
    took_s = time.perf_counter() - started_s
    print(f"{len(missed)} missed; {took_s:.0f} s; load {load[0]:.1f} before")
    for row in missed:
        print(f"  {row['figure'].strip()}: {row['value']} ({row['must']})")
    return bool(missed)


def _print(figure: str, value: str, must: str, held: str) -> None:
    print(f"{figure:<62}{value:>20}{must:>17}  {held}".rstrip(), flush=True)


sys.exit(main())
