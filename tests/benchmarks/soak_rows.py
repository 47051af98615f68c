"""A session that lasts: what a token costs, and what the text takes, after so many turns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.bench import Bench, Row, row

TURNS, TOKENS = 1_000, 2_000


def soak(bench: Bench) -> Iterator[Row]:
    """2 million tokens through the log, in a process of its own; about five minutes."""
    argv = [sys.executable, "-m", "tests.benchmarks.soak_child", str(TURNS), str(TOKENS)]
    done = subprocess.run(argv, env=bench.env(), check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    ratio = found["last_s"] / found["first_s"]
    yield row(f"CPU per 1k tokens, turn {TURNS} : turn 10", f"{ratio:.2f} x", "<= 1.3 x", "<= 1.1 x")
    yield row(
        "  the same in ms, turn 10; last", f"{found['first_s'] * 1e3:.0f}; {found['last_s'] * 1e3:.0f} ms"
    )
    yield row(
        f"memory for {found['text_mb']:.0f} MB more of text",
        f"{found['ratio']:.1f} x text",
        "<= 6 x",
        "<= 2 x",
    )
