"""How soon lmchat is there, and how soon its commands are done."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from tests.benchmarks.bench import (
    BARE_PAINTED,
    PAINTED,
    PROMPTED,
    Bench,
    Row,
    cpu_of,
    ratio_row,
    row,
)
from tests.benchmarks.stores import fill_store, long_texts
from tests.benchmarks.terminal import Drawn


def version(bench: Bench) -> Iterator[Row]:
    ours = []
    bare = []
    for _ in range(2 * bench.runs):
        ours.append(cpu_of([sys.executable, "-m", "lmchat", "--version"], bench.env()))
        bare.append(cpu_of([sys.executable, "-c", "pass"], bench.env()))
    yield ratio_row("lmchat --version, CPU : python -c pass", ours, bare, "<= 2.5 x")


class Start(NamedTuple):
    """What one start took."""

    paint_s: float
    key_s: float
    memory_mb: float


def _start(drawn: Drawn, marker: str, ready: str = "") -> Start:
    painted_s = drawn.wait_for(marker)
    since = drawn.count
    drawn.type("Q")
    echoed_s = drawn.wait_for("Q", since=since)
    if ready:
        drawn.wait_for(ready)
    drawn.rest()
    found = Start(painted_s - drawn.started_s, echoed_s - drawn.started_s, drawn.memory_mb())
    drawn.end()
    return found


def start(bench: Bench) -> Iterator[Row]:
    ours = []
    bare = []
    for _ in range(2 * bench.runs):  # short, and their differences are small
        bare.append(_start(bench.bare(), BARE_PAINTED))
        ours.append(_start(bench.lmchat(), PAINTED, PROMPTED))
    yield from _compared(": bare", ours, bare, ("<= 1.3 x", "<= 1.4 x"))
    memory = [median([one.memory_mb for one in starts]) for starts in (ours, bare)]
    yield row("memory at the prompt above bare", f"{memory[0] - memory[1]:.1f} MB", "<= 30 MB")


def _compared(
    figure: str, ours: list[Start], base: list[Start], musts: Sequence[str]
) -> Iterator[Row]:
    names = (("first paint", "paint_s"), ("first key echoed", "key_s"))
    for (what, name), must in zip(names, musts, strict=True):
        mine, others = ([getattr(one, name) for one in starts] for starts in (ours, base))
        yield ratio_row(f"{what} {figure}", mine, others, must)
        yield row("  in seconds", f"{median(mine):.2f}; {median(others):.2f} s")


def large(bench: Bench) -> Iterator[Row]:
    """Open a session of 10 000 messages against one of 10."""
    found: dict[int, list[Start]] = {10: [], 10_000: []}
    homes = {count: fill_store(bench.folder / f"store{count}", count) for count in found}
    for _ in range(bench.runs):
        for count, home in homes.items():
            drawn = bench.lmchat("-r", "last", home=bench.copy_of(home))
            found[count].append(_start(drawn, "LAST-ANSWER", PROMPTED))
    figure = "in a session of 10 000 messages : 10"
    yield from _compared(figure, found[10_000], found[10], 2 * ["<= 1.3 x"])
    big, small = (median([one.memory_mb for one in found[count]]) for count in (10_000, 10))
    more = (big - small) / (sum(len(text.encode()) for text in long_texts(10_000)) / 1e6)
    yield row("memory, 10 000 messages above 10 : text", f"{more:.1f} x", "<= 6 x")


def commands(bench: Bench) -> Iterator[Row]:
    home = fill_store(bench.folder / "store-commands", 10_000)
    for name, argv in (("sessions", ["sessions"]), ("search", ["search", "shade"])):
        times = []
        for _ in range(bench.runs):
            started_s = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "lmchat", *argv],
                env=bench.env(home),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            times.append((time.perf_counter() - started_s) * 1e3)
        yield row(
            f"lmchat {name}, process and all, 10 000 messages",
            f"{median(times):.0f} ms",
            "<= 250 ms",
        )
