"""What it takes to open a message of 1 MB."""

from __future__ import annotations

import asyncio
import gc
import time
from asyncio import events
from collections.abc import Iterator

from tests.benchmarks.bench import Bench, Row, median, row
from tests.benchmarks.texts import KINDS
from tests.support.chat_log_app import LogApp, answer, question

_CHARS = 1_000_000
_TEXTS = {
    "prose": KINDS["prose"],
    "mixed": KINDS["mixed"],
    "quotes": KINDS["quote"],
    "lists in lists": lambda n: "- a\n  - b\n    - c\n      - d words\n" * (n // 34),
}
_MOST = "<= 40 ms"


def long(bench: Bench) -> Iterator[Row]:
    """A session is shown whose answer has 1 MB, until all of it is cut into blocks; CPU of each callback."""
    for name, text in _TEXTS.items():
        taken = [asyncio.run(_opened(text(_CHARS))) for _ in range(min(bench.runs, 3))]
        worst, whole = (median(list(values)) for values in zip(*taken, strict=True))
        yield row(f"1 MB of {name} is opened, longest stretch of the loop", f"{worst:.0f} ms", _MOST)
        yield row("  CPU until its end is shown", f"{whole:.1f} s")


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
            while log.document.is_reading:
                await pilot.pause(0.01)
        finally:
            events.Handle._run = run
            gc.unfreeze()
        return max(worst_s) * 1e3, sum(worst_s)
