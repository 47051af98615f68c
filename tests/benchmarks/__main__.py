"""`python -m tests.benchmarks [ROW…] [--runs N] [--json FILE]`: figures beside their baselines, from one run.

Ratios are of medians. Nothing here is a test: the machine decides the seconds, the ratios tell something.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.rows import ROWS, Bench


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.runs)
        results = []
        for name in options.rows or ROWS:
            for row in ROWS[name](bench):
                results.append(row)
                print(f"{row['figure']:<58}{row['value']:>22}{row['must']:>16}{row['aim']:>16}", flush=True)
    if options.json:
        options.json.write_text(
            json.dumps({"cpus": os.cpu_count(), "python": sys.version, "rows": results}, indent=1)
        )


main()
