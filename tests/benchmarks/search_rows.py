"""How long a search takes, and what else has to wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from lmchat.domain.message import Role, new_id, now, text_message
from lmchat.domain.session import SessionHeader
from lmchat.storage.store import SqliteStore
from tests.benchmarks.bench import Bench, Row, median, row
from tests.benchmarks.search_store import RARE, RARE_SIGN, fill

_COUNTS = {10: 25, 1_000: 25, 10_000: 25, 100_000: 100}
"""Messages, and how many ms a search may take."""
_LIMIT = 20
_QUERIES = {
    "a word": "ka",
    "a word that was said once": RARE,
    "part of a word, said once": RARE[5:15].lower(),
    "part of many words": "anda",
    "code": "self.",
    "one Chinese character, often": "\u4e05",
    "one Chinese character, once": RARE_SIGN,
    "an emoji, once": "🙂",
    "what nobody said": "qwzxv",
    "title: alone": "title:renamed",
    "title: of nothing": "title:qwzxv",
    "before: all": "before:2020-01-01",
    "after: alone": "after:2026-01-01",
    "a word, before: all": "ka before:2020-01-01",
    "has:code alone": "has:code",
}


def search(bench: Bench) -> Iterator[Row]:
    """Search at 10 to 100 000 messages through the store."""
    for count, most_ms in _COUNTS.items():
        path = bench.folder / f"search{count}.db"
        size = fill(path, count)
        taken = asyncio.run(_taken(path, bench.runs))
        slowest = max(taken, key=lambda name: taken[name])
        yield row(
            f"search, {count} messages, slowest of {len(taken)} kinds",
            f"{taken[slowest]:.1f} ms",
            f"<= {most_ms} ms",
            slowest,
        )
        yield row("  file : its texts", f"{path.stat().st_size / size:.2f} x", "", f"{size / 1e6:.1f} MB")
        if count == max(_COUNTS):
            for name, ms in taken.items():
                yield row(f"  {name}", f"{ms:.1f} ms")
            late_ms, append_ms = asyncio.run(_meanwhile(path, bench.runs, _QUERIES.values()))
            calm_late_ms, calm_append_ms = asyncio.run(_meanwhile(path, bench.runs, ()))
            yield row(
                "  event loop late, worst, meanwhile : without",
                f"{late_ms:.1f} : {calm_late_ms:.1f} ms",
                "<= 16 ms",
            )
            yield row(
                "  a prompt kept, median, meanwhile : without", f"{append_ms:.1f} : {calm_append_ms:.1f} ms"
            )


async def _taken(path: Path, runs: int) -> dict[str, float]:
    store = SqliteStore(path)
    await store.open()
    taken = {}
    for name, query in _QUERIES.items():
        times = []
        for _ in range(runs):
            begun_s = time.perf_counter()
            await store.search(query, limit=_LIMIT)
            times.append((time.perf_counter() - begun_s) * 1e3)
        taken[name] = median(times)
    await store.aclose()
    return taken


async def _meanwhile(path: Path, runs: int, queries: Collection[str]) -> tuple[float, float]:
    """Search without a pause; return how late the loop was, and how long a prompt took."""
    store, late, kept = SqliteStore(path), [0.0], []
    await store.open()

    async def look() -> None:
        while True:
            begun_s = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append((time.perf_counter() - begun_s - 0.005) * 1e3)

    async def type_on() -> None:
        while queries:
            for query in queries:
                await store.search(query)

    others = [asyncio.ensure_future(look()), asyncio.ensure_future(type_on())]
    header = SessionHeader(session_id=new_id(), title="Meanwhile", created_at=now(), updated_at=now())
    for _ in range(10 * runs):
        begun_s = time.perf_counter()
        await store.append(header, text_message(Role.USER, "What grows in the shade?"))
        kept.append((time.perf_counter() - begun_s) * 1e3)
        await asyncio.sleep(0.02)
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await store.aclose()
    return max(late), median(kept)
