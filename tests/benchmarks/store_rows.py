"""What the store takes: a search, and text that streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from lmchat.core.sessions.message import AnswerState
from lmchat.core.storage.store import Store
from tests.benchmarks.bench import Bench, Row, p95, ratio_row, row
from tests.benchmarks.stores import RARE, RARE_SIGN, RARE_SIGNS, fill, texts
from tests.support.chats import answer, header, say

_COUNTS = {10_000: 25, 100_000: 100}  # messages, and how many ms a search may take
_LIMIT = 20
_SESSION = 20  # messages
_TWO_SIGNS = "two Chinese characters"
_QUERIES = {
    "a word": "ka",
    "a word that was said once": RARE,
    "part of a word, said once": RARE[5:15].lower(),
    "part of many words": "anda",
    "one Chinese character, once": RARE_SIGN,
    _TWO_SIGNS: RARE_SIGNS,
    "what nobody said": "qwzxv",
}
# The index does not know of filters: all messages with the word are looked at.
_FILTERED = "ka before:2020-01-01"
_MOST_FILTERED_MS = 250


def search(bench: Bench) -> Iterator[Row]:
    """Search in 10 000 and 100 000 messages through the store."""
    for count, most_ms in _COUNTS.items():
        path = bench.folder / f"search{count}.db"
        fill(path, texts(count), _SESSION)
        taken = asyncio.run(_taken(path, bench.runs))
        filtered = taken.pop(_FILTERED)
        slowest = max(taken, key=lambda name: median(taken[name]))
        figure = f"search, {count} messages, slowest kind: {slowest}"
        yield row(figure, f"{median(taken[slowest]):.1f} ms", f"<= {most_ms} ms")
        base = taken["a word that was said once"]
        yield ratio_row(f"  {_TWO_SIGNS} : a word, said once", taken[_TWO_SIGNS], base, "<= 2 x")
        figure = "  a word, and a date that no message passes"
        yield row(figure, f"{median(filtered):.1f} ms", f"<= {_MOST_FILTERED_MS} ms")


async def _taken(path: Path, runs: int) -> dict[str, list[float]]:
    store = Store(path)
    await store.open()
    taken: dict[str, list[float]] = {}
    for name, query in {**_QUERIES, _FILTERED: _FILTERED}.items():
        for _ in range(runs):
            started_s = time.perf_counter()
            await store.search(query, limit=_LIMIT)
            taken.setdefault(name, []).append((time.perf_counter() - started_s) * 1e3)
    await store.aclose()
    return taken


def append(bench: Bench) -> Iterator[Row]:
    times = asyncio.run(_append(bench.folder / "append.db"))
    yield row(
        "append of streamed text to the store, there and back, p50 / p95",
        f"{median(times):.2f} / {p95(times):.2f} ms",
        "<= - / 1 ms",
    )


async def _append(file: Path) -> list[float]:
    store = Store(file)
    session = header("Streams")
    times = []
    said = answer(parent=await say(store, session, "go"), state=AnswerState.STREAMING)
    await store.start_answer(session.session_id, said)
    for _ in range(300):
        started_s = time.perf_counter()
        await store.add_entries(said.message_id, [("text", "x" * 100)])
        times.append((time.perf_counter() - started_s) * 1e3)
        await asyncio.sleep(0.005)
    await store.aclose()
    return times
