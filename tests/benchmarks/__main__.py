"""`python -m tests.benchmarks [ROW…] [--runs N] [--json FILE]`: figures beside their baselines, from one run.

Ratios are of medians. Nothing here is a test: the machine decides the seconds, the ratios tell something.
Exit code: 1 where a figure is not what it must be, else 0.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from importlib import metadata
from pathlib import Path

from tests.benchmarks.bench import AIM_MISSED, MUST_MISSED, Bench, Row, numbers, verdict, worst
from tests.benchmarks.idle_rows import idle
from tests.benchmarks.log_rows import find, long
from tests.benchmarks.proxy_rows import detect, models, proxy
from tests.benchmarks.start_rows import commands, large, start, version
from tests.benchmarks.store_rows import append, search
from tests.benchmarks.stream_rows import echo, flood, growth, scroll, stop, stream

_SCREEN = (version, start, large, stream, growth, flood, echo, stop, scroll, find, long, idle)
_BEHIND = (proxy, models, append, search, commands, detect)
ROWS = {measure.__name__: measure for measure in (*_SCREEN, *_BEHIND)}
GROUPS = {
    "screen": tuple(measure.__name__ for measure in _SCREEN),
    "behind": tuple(measure.__name__ for measure in _BEHIND),
}
"""Names for several rows: start-up, log, prompt and memory; and what stands behind the screen."""
_LIBRARIES = ("textual", "rich", "httpx", "markdown-it-py", "msgspec")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = ", ".join(
        (*ROWS, *(f"{name} (all of: {' '.join(rows)})" for name, rows in GROUPS.items()))
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {names}; without one, all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wanted = [row for name in options.rows or ROWS for row in GROUPS.get(name, [name])]
    if unknown := [name for name in wanted if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}")
    load, began_s = os.getloadavg(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.runs)
        print(
            f"This machine takes {bench.slowness:.1f} times as long; limits of times are wider by that."
        )
        _print(["figure", "value", "must", "aim", "verdict"])
        found = [row for name in wanted for row in _of(name, bench)]
    took_s = time.perf_counter() - began_s
    counts = Counter(row["verdict"] for row in found if row["verdict"])
    counted = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print(f"{counted}; {took_s:.0f} s; load {load[0]:.1f} before, {os.getloadavg()[0]:.1f} after")
    for row in found:
        if row["verdict"] in (AIM_MISSED, MUST_MISSED):
            print(
                f"  {row['verdict']}: {row['figure'].strip()}: {row['value']} ({row['must']}; {row['aim']})"
            )
    if options.json:
        _write(
            options.json,
            {"runs": options.runs, "took_s": round(took_s), "load": load, "rows": found},
        )
    return worst(row["verdict"] for row in found) == MUST_MISSED


def _of(name: str, bench: Bench) -> list[Row]:
    began_s, found = time.perf_counter(), []
    for row in ROWS[name](bench):
        row["verdict"] = verdict(row["value"], row["must"], row["aim"], bench.slowness)
        _print(list(row.values()))
        found.append(row)
    took_s = f"{time.perf_counter() - began_s:.0f}"
    for row in found:
        row |= {"row": name, "took_s": took_s, "load": f"{os.getloadavg()[0]:.1f}"}
    return found


def _print(cells: list[str]) -> None:
    figure, value, must, aim, held = cells
    print(f"{figure:<62}{value:>20}{must:>17}{aim:>17}  {held}".rstrip(), flush=True)


def _write(file: Path, report: dict) -> None:
    machine = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpus": os.cpu_count(),
        "machine": platform.platform(),
        "python": sys.version,
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }
    rows = [row | {"numbers": numbers(row["value"])} for row in report["rows"]]
    file.write_text(json.dumps(machine | report | {"rows": rows}, indent=1))


sys.exit(main())
