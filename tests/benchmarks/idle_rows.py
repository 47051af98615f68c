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
    drawn = bench.lmchat(home=bench.still_home("still"))
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
    cpu_s, since, woken = drawn.rest(), drawn.count, drawn.wake_ups()
    time.sleep(_LONG_S)
    share = (drawn.cpu_s() - cpu_s) / _LONG_S * 100
    yield row(f"idle, {state}: share of a core", f"{share:.2f} %", "<= 0.5 %", "<= 0.15 %")
    bytes_s, woken_s = drawn.drawn_bytes(since) / _LONG_S, (drawn.wake_ups() - woken) / _LONG_S
    yield row("  drawn; wake-ups of all threads", f"{bytes_s:.0f} B/s; {woken_s:.1f} /s")
