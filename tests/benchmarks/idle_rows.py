"""What lmchat takes while nobody does anything."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.benchmarks.bench import PROMPTED, Bench, Row, row
from tests.benchmarks.terminal import Drawn
from tests.benchmarks.texts import mixed

_LONG_S = 15.0  # three polls of the sidebar
_PICKER = "\x0f"


def idle(bench: Bench) -> Iterator[Row]:
    """One run is left alone at its prompt, after an answer, and with a dialog open."""
    drawn = bench.lmchat(home=bench.still(bench.folder / "still"))
    drawn.wait_for(PROMPTED)
    yield from _left(drawn, "sidebar on, no blinking")
    bench.server.text, bench.server.rate = mixed(40_000), 0
    bench.server.done.clear()
    drawn.type("go\r")
    bench.server.done.wait(30)
    yield from _left(drawn, "after an answer of 40 kB")
    drawn.type(_PICKER)
    yield from _left(drawn, "the model picker open")
    drawn.end()


def _left(drawn: Drawn, state: str) -> Iterator[Row]:
    cpu_s = drawn.rest()
    time.sleep(_LONG_S)
    share = (drawn.cpu_s() - cpu_s) / _LONG_S * 100
    yield row(f"idle, {state}: share of a core", f"{share:.2f} %", "<= 0.5 %")
