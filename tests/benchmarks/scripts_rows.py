"""What commands for scripts save, against the real server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.bench import Bench, Row, median, row
from tests.support.real_server.server import RealServer

PROMPTS = 16


def batch(bench: Bench) -> Iterator[Row]:
    """The same prompts one after the other, and two at once, at a server with two slots."""
    source = bench.folder / "prompts.jsonl"
    source.write_text(
        "".join(
            json.dumps({"prompt": f"Tell a story about {n} birds."}) + "\n" for n in range(PROMPTS)
        )
    )
    took_s: dict[int, list[float]] = {1: [], 2: []}
    with RealServer(slots=2, ctx=4096) as server:
        for number in range(bench.runs):
            for jobs, seconds in took_s.items():
                seconds.append(_took_s(bench, server.url, source, jobs, seed=number * 10 + jobs))
    alone, together = median(took_s[1]), median(took_s[2])
    yield row("batch: two at once : one at a time", f"{together / alone:.2f} x", "<= 0.65 x", "-")
    yield row("  the same, seconds", f"{together:.1f}; {alone:.1f} s")


def _took_s(bench: Bench, url: str, source: Path, jobs: int, seed: int) -> float:
    options = (
        "--jobs",
        str(jobs),
        "--set",
        "max_tokens=100",
        "--set",
        "ignore_eos=true",
        "--set",
        f"seed={seed}",
    )
    argv = (sys.executable, "-m", "lmchat", "--endpoint", url, "batch", str(source), *options)
    began_s = time.perf_counter()
    subprocess.run(argv, env=bench.env(), check=True, capture_output=True)
    return time.perf_counter() - began_s
