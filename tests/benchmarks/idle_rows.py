"""What lmchat takes while nobody does anything."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.benchmarks.bench import PROMPTED, Bench, Row, row

_LONG_S = 15.0  # three polls of the sidebar


def idle(bench: Bench) -> Iterator[Row]:
    drawn = bench.lmchat(home=bench.still(bench.folder / "still"))
    drawn.wait_for(PROMPTED)
    cpu_s = drawn.rest()
    time.sleep(_LONG_S)
    share = (drawn.cpu_s() - cpu_s) / _LONG_S * 100
    drawn.end()
    yield row("idle, sidebar on, no blinking: share of a core", f"{share:.2f} %", "<= 0.5 %")
