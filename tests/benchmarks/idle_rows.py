"""What lmchat takes while nobody does anything, in each state that it may be left in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.benchmarks.bench import PROMPTED, Bench, Row, row
from tests.benchmarks.server import PacedServer
from tests.benchmarks.terminal import Drawn
from tests.benchmarks.texts import mixed

_POLLS_S = 10.0
"""Two polls of the sidebar."""
_LONG_S = 15.0
_FOCUS_OUT, _FOCUS_IN, _ESCAPE = "\x1b[O", "\x1b[I", "\x1b"
_FIND, _PICKER, _HELP, _PREVIOUS_MESSAGE = "\x06", "\x0f", "\x1b[11~", "\x1b[1;3A"


def idle(bench: Bench) -> Iterator[Row]:
    """One run is left in all states that a session goes through, one after the other."""
    drawn = bench.lmchat(home=bench.still_home("still"))
    drawn.wait_for(PROMPTED)
    yield from _left(drawn, "sidebar on, no blinking", _LONG_S)
    _answered(bench, drawn, 40_000)
    states: tuple[tuple[str, Callable[[], object]], ...] = (
        ("after an answer of 40 kB", lambda: None),
        ("after an answer that was stopped", lambda: _stopped(bench, drawn)),
        ("a message focused", lambda: drawn.type(_PREVIOUS_MESSAGE)),
        ("find open, with hits", lambda: drawn.type(f"{_FIND}quick\r")),
        ("a dialog open", lambda: (drawn.type(_ESCAPE), time.sleep(0.5), drawn.type(_HELP))),
        ("the model picker open", lambda: (drawn.type(_ESCAPE), time.sleep(0.5), drawn.type(_PICKER))),
        (
            "the terminal without focus",
            lambda: (drawn.type(_ESCAPE), time.sleep(0.5), drawn.type(_FOCUS_OUT)),
        ),
    )
    for name, begin in states:
        begin()
        yield from _left(drawn, name)
    drawn.type(_FOCUS_IN)
    drawn.end()
    yield from _without_server(bench)


def _without_server(bench: Bench) -> Iterator[Row]:
    """Side by side: programs that rest do not disturb each other."""
    loading, leaving, absent = servers = [PacedServer() for _ in range(3)]
    absent.leave()
    homes = [bench.still_home(f"still{number}") for number in range(3)]
    envs = [
        bench.env(home) | {"LMCHAT_ENDPOINT": server.url} for home, server in zip(homes, servers, strict=True)
    ]
    programs = [bench.lmchat_in(env) for env in envs]
    for drawn in programs[:2]:
        drawn.wait_for(PROMPTED)
    loading.is_loading = True
    leaving.leave()
    time.sleep(_POLLS_S)  # until two looks have seen it
    names = ("a server that loads its model", "the server gone", "no server since the start")
    begun = [(drawn, drawn.rest(), drawn.count, drawn.wake_ups()) for drawn in programs]
    time.sleep(_LONG_S)
    for name, (drawn, *before) in zip(names, begun, strict=True):
        yield from _used(drawn, name, _LONG_S, *before)
        drawn.end()


def _answered(bench: Bench, drawn: Drawn, size: int) -> None:
    bench.server.text, bench.server.rate = mixed(size), 0
    bench.server.done.clear()
    drawn.type("go\r")
    bench.server.done.wait(30)


def _stopped(bench: Bench, drawn: Drawn) -> None:
    bench.server.text, bench.server.rate = mixed(20_000), 100
    bench.server.hung_up.clear()
    drawn.type("go\r")
    time.sleep(2)
    drawn.type(_ESCAPE)
    bench.server.hung_up.wait(10)


def _left(drawn: Drawn, state: str, for_s: float = _POLLS_S) -> Iterator[Row]:
    before = drawn.rest(), drawn.count, drawn.wake_ups()
    time.sleep(for_s)
    yield from _used(drawn, state, for_s, *before)


def _used(drawn: Drawn, state: str, for_s: float, cpu_s: float, since: int, woken: int) -> Iterator[Row]:
    share = (drawn.cpu_s() - cpu_s) / for_s * 100
    yield row(f"idle, {state}: share of a core", f"{share:.2f} %", "<= 0.5 %", "<= 0.15 %")
    bytes_s, woken_s = drawn.drawn_bytes(since) / for_s, (drawn.wake_ups() - woken) / for_s
    yield row("  drawn; wake-ups of all threads", f"{bytes_s:.0f} B/s; {woken_s:.1f} /s")
