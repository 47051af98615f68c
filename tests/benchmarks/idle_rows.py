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
_LONG_S = 20.0
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
    """The figures beside tell how much of this is a count of seconds that is shown."""
    for name, change in (("a server that loads", "load"), ("the server gone", "leave"), ("no server", "")):
        server = PacedServer()
        if not change:
            server.leave()
        env = bench.env(bench.still_home(f"still-{change}")) | {"LMCHAT_ENDPOINT": server.url}
        drawn = bench.lmchat_in(env)
        if change:
            drawn.wait_for(PROMPTED)
            drawn.rest()
            server.is_loading = change == "load"
            if change == "leave":
                server.leave()
            time.sleep(6)  # until the next poll has seen it
        yield from _left(drawn, name)
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
    cpu_s, since, woken = drawn.rest(), drawn.count, drawn.wake_ups()
    time.sleep(for_s)
    share = (drawn.cpu_s() - cpu_s) / for_s * 100
    yield row(f"idle, {state}: share of a core", f"{share:.2f} %", "<= 0.5 %", "<= 0.15 %")
    seconds = f"{drawn.drawn_bytes(since) / for_s:.0f} B/s"
    yield row("  drawn; wake-ups of all threads", f"{seconds}; {(drawn.wake_ups() - woken) / for_s:.1f} /s")
