"""How soon lmchat is there, and how soon its commands are done."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from tests.benchmarks.bench import PAINTED, Bench, Row, cpu_of, median, row
from tests.benchmarks.store import fill_store
from tests.benchmarks.terminal import Drawn


def version(bench: Bench) -> Iterator[Row]:
    ours, bare = [], []
    for _ in range(2 * bench.runs):
        ours.append(cpu_of([sys.executable, "-m", "lmchat", "--version"], bench.env()))
        bare.append(cpu_of([sys.executable, "-c", "pass"], bench.env()))
    yield row(
        "lmchat --version, CPU : python -c pass", f"{sum(ours) / sum(bare):.2f} x", "<= 2.5 x", "<= 2 x"
    )


def _start(drawn: Drawn, marker: str) -> tuple[float, float, float]:
    """Return seconds to paint and to the echo of the first key, and memory."""
    painted_s = drawn.wait_for(marker)
    since = drawn.count
    drawn.type("Q")
    echoed_s = drawn.wait_for("Q", since=since)
    time.sleep(1)
    memory_mb = drawn.memory_mb()
    drawn.end()
    return painted_s - drawn.began_s, echoed_s - drawn.began_s, memory_mb


def start(bench: Bench) -> Iterator[Row]:
    ours, bare = [], []
    for _ in range(bench.runs):
        bare.append(_start(bench.bare(), "BARE-PAINTED"))
        ours.append(_start(bench.lmchat(), PAINTED))
    paint, key, memory = (([one[n] for one in ours], [one[n] for one in bare]) for n in range(3))
    yield row("first paint : bare", f"{median(paint[0]) / median(paint[1]):.2f} x", "<= 1.5 x", "<= 1.15 x")
    yield row("  first paint, lmchat; bare", f"{median(paint[0]) * 1e3:.0f}; {median(paint[1]) * 1e3:.0f} ms")
    yield row("first key echoed : bare", f"{median(key[0]) / median(key[1]):.2f} x", "<= 1.5 x", "<= 1.2 x")
    yield row("  first key, lmchat; bare", f"{median(key[0]) * 1e3:.0f}; {median(key[1]) * 1e3:.0f} ms")
    yield row(
        "memory at the prompt above bare",
        f"{median(memory[0]) - median(memory[1]):.1f} MB",
        "<= 30 MB",
        "<= 15 MB",
    )


def large(bench: Bench) -> Iterator[Row]:
    """Open a session of 10 000 messages against one of 10."""
    found: dict[int, list[tuple[float, float, float]]] = {10: [], 10_000: []}
    homes = {count: fill_store(bench.folder / f"store{count}", count) for count in found}
    for _ in range(bench.runs):
        for count, home in homes.items():
            found[count].append(_start(bench.lmchat("-r", "last", home=home), "LAST-ANSWER"))
    small, big = found[10], found[10_000]
    for n, name in enumerate(("first paint", "first key")):
        ratio = median([one[n] for one in big]) / median([one[n] for one in small])
        yield row(f"{name}, session of 10 000 messages : 10", f"{ratio:.2f} x", "<= 1.3 x", "<= 1.05 x")
    more = median([one[2] for one in big]) - median([one[2] for one in small])
    text_mb = 10_000 * 450 / 1e6
    yield row("memory, 10 000 messages above 10 : text", f"{more / text_mb:.1f} x", "<= 6 x", "<= 2 x")


def commands(bench: Bench) -> Iterator[Row]:
    home = fill_store(bench.folder / "store-commands", 10_000)
    for name, argv in (("sessions", ["sessions"]), ("search", ["search", "shade"])):
        times = []
        for _ in range(bench.runs):
            began_s = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "lmchat", *argv],
                env=bench.env(home),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            times.append((time.perf_counter() - began_s) * 1e3)
        yield row(
            f"lmchat {name}, process and all, 10 000 messages",
            f"{median(times):.0f} ms",
            "<= 250 ms",
            "<= 120 ms",
        )
