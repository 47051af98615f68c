"""What the log takes: to find in it, and to open a message of 1 MB."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from asyncio import events
from collections.abc import Iterator

from tests.benchmarks.bench import Bench, Row, median, row
from tests.benchmarks.stores import fill_store
from tests.benchmarks.terminal import Drawn
from tests.benchmarks.texts import KINDS
from tests.support.chat_log_app import LogApp, answer, question
from tests.support.pty_program import Terminal

_COUNT = 10_000
_PLACE, _NONE = re.compile(r"▌.*\d+/\d+"), re.compile("no hits")
_QUERIES = {
    "one letter that is everywhere": ("e", _PLACE, "<= 100 ms"),
    "words of one message": ("def f777(", _PLACE, "<= 150 ms"),
    "what nobody said": ("qzxv", _NONE, "<= 150 ms"),
}
_FIND, _ERASE, _ESCAPE = "\x06", "\x15", "\x1b"


def find(bench: Bench) -> Iterator[Row]:
    """Type what is to be found: until the first hit is marked, until all are counted, and what it takes."""
    home = bench.copy_of(fill_store(bench.folder / f"store{_COUNT}", _COUNT))
    (home / "config.toml").write_text("[ui]\nreduced_motion = true\n")
    drawn = bench.lmchat("-r", "last", home=home)
    drawn.wait_for("LAST-ANSWER")
    drawn.rest()
    drawn.type(_FIND)
    drawn.wait_for("in this session")
    for name, (words, told, must) in _QUERIES.items():
        shown, cpus, echoes = [], [], []
        for _ in range(bench.runs):
            drawn.type(_ERASE)
            cpu_s, since = drawn.rest(), drawn.count
            at_s = drawn.type(words)
            cpus.append((drawn.rest() - cpu_s) * 1e3)
            shown.append((_first_shown_s(drawn, told, since) - at_s) * 1e3)
            drawn.type(_ERASE)
            drawn.rest()
            drawn.type(words)
            echoes.append(_echo(drawn))
        figure = f"find, {_COUNT} messages, {name}: key -> shown"
        yield row(figure, f"{median(shown):.0f} ms", must, "<= 50 ms")
        yield row(
            "  a key typed while all are counted, worst", f"{max(echoes):.0f} ms", "<= 100 ms"
        )
        yield row("  CPU, all keys of it", f"{median(cpus):.0f} ms")
    drawn.type(_ESCAPE)
    time.sleep(0.5)
    drawn.end()


def _echo(drawn: Drawn) -> float:
    """Type a sign of its own while hits are counted; return how long it takes to be shown."""
    mark, at_s = drawn.count, time.perf_counter()
    drawn.type("\u4e05")
    return (drawn.wait_for("\u4e05", since=mark) - at_s) * 1e3


def _first_shown_s(drawn: Drawn, wanted: re.Pattern[str], since: int) -> float:
    """Return when something stood on the screen first; what changed may have come in pieces."""
    terminal = Terminal(120, 40)
    for number, (at_s, data) in enumerate(list(drawn.chunks)):
        terminal.feed(data)
        if number >= since and any(wanted.search(line) for line in terminal.lines):
            return at_s
    raise TimeoutError(f"{wanted.pattern} was not shown:\n" + "\n".join(terminal.lines))


_CHARS = 100_000
_TEXTS = {
    "prose": KINDS["prose"],
    "mixed": KINDS["mixed"],
    "quotes": KINDS["quote"],
    "lists in lists": lambda n: "- a\n  - b\n    - c\n      - d words\n" * (n // 34),
}


def long(bench: Bench) -> Iterator[Row]:
    """A session is shown whose answer has 100 kB; CPU of each callback."""
    for name, text in _TEXTS.items():
        taken = [asyncio.run(_opened(text(_CHARS))) for _ in range(min(bench.runs, 3))]
        worst, whole = (median(list(values)) for values in zip(*taken, strict=True))
        yield row(f"100 kB of {name} is opened, longest stretch of the loop", f"{worst:.0f} ms")
        yield row("  CPU until its end is shown", f"{whole:.2f} s")


async def _opened(text: str) -> tuple[float, float]:
    async with LogApp().run_test(size=(120, 40)) as pilot:
        log = pilot.app.log_view
        log.load([question("Go on."), answer("First **words** import `what` [shows](a) them.")])
        await pilot.pause()
        messages = [question("Go on."), answer(text)]
        gc.collect()
        gc.freeze()  # as lmchat does with what was imported
        worst_s, run = [0.0], events.Handle._run

        def timed(handle: events.Handle) -> None:
            begun_s = time.thread_time()
            run(handle)
            worst_s.append(time.thread_time() - begun_s)

        events.Handle._run = timed
        try:
            asyncio.get_running_loop().call_soon(log.load, messages)
            await pilot.pause(0.01)
        finally:
            events.Handle._run = run
            gc.unfreeze()
        return max(worst_s) * 1e3, sum(worst_s)
