"""What the store takes: a search and what has to wait for it, text that streams, and a kill."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from lmchat.sessions.message import AnswerState, ChatMessage
from lmchat.storage.store import Store
from tests.benchmarks.bench import Bench, Row, median, p95, row
from tests.benchmarks.stores import RARE, RARE_SIGN, fill
from tests.benchmarks.texts import mixed
from tests.support.chats import answer, header, say

_COUNTS = {
    10: 25,
    1_000: 25,
    10_000: 25,
    100_000: 100,
}  # messages, and how many ms a search may take
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
        yield row(
            "  file : its texts", f"{path.stat().st_size / size:.2f} x", "", f"{size / 1e6:.1f} MB"
        )
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
                "  a prompt kept, median, meanwhile : without",
                f"{append_ms:.1f} : {calm_append_ms:.1f} ms",
            )


async def _taken(path: Path, runs: int) -> dict[str, float]:
    store = Store(path)
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
    store, late, kept = Store(path), [0.0], []
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
    session = header("Meanwhile")
    for _ in range(10 * runs):
        begun_s = time.perf_counter()
        await say(store, session, "What grows in the shade?")
        kept.append((time.perf_counter() - begun_s) * 1e3)
        await asyncio.sleep(0.02)
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await store.aclose()
    return max(late), median(kept)


def append(bench: Bench) -> Iterator[Row]:
    times = asyncio.run(_append(bench.folder / "append.db"))
    yield row(
        "append of streamed text to the store, there and back, p50 / p95",
        f"{median(times):.2f} / {p95(times):.2f} ms",
        "<= - / 1 ms",
        "<= - / 0.1 ms",
    )


async def _append(file: Path) -> list[float]:
    store = Store(file)
    session, times = header("Streams"), []
    said = answer(parent=await say(store, session, "go"), state=AnswerState.STREAMING)
    await store.begin_answer(session.session_id, said)
    for _ in range(300):
        began_s = time.perf_counter()
        await store.add_entries(said.message_id, [("text", "x" * 100)])
        times.append((time.perf_counter() - began_s) * 1e3)
        await asyncio.sleep(0.005)
    await store.aclose()
    return times


KILLS = 40  # for each run of five; 200 in all


def killed(bench: Bench) -> Iterator[Row]:
    """`lmchat ask --save` and SIGKILL at random moments of its answer; what the server had sent, on the disk."""
    dice, lost_ms, lost_chars = random.Random(1), [], []  # noqa: S311 - repeats
    bench.server.text, bench.server.rate = mixed(40_000), 100
    for number in range(KILLS * bench.runs):
        home = bench.folder / f"killed{number}"
        argv = [sys.executable, "-m", "lmchat", "ask", "--save", "go"]
        bench.server.written.clear()
        with subprocess.Popen(argv, env=bench.env(home), stdout=subprocess.PIPE) as process:
            process.stdout.read(1)
            time.sleep(dice.uniform(0, 2))
            killed_s = time.perf_counter()
            process.kill()
        sent = [(at_s, chars) for at_s, chars in bench.server.written if at_s <= killed_s]
        kept = len(asyncio.run(_last(home)).text)
        lost_chars.append(max(sent[-1][1] - kept, 0))
        lost_ms.append(
            max((killed_s - at_s for at_s, chars in sent if chars > kept), default=0) * 1e3
        )
    figure = f"{KILLS * bench.runs} kills in mid-answer: text lost, worst / median"
    yield row(figure, f"{max(lost_ms):.0f} / {median(lost_ms):.0f} ms", "<= 250 ms")
    yield row("  the same in characters", f"{max(lost_chars)} / {median(lost_chars):.0f}")


async def _last(home: Path) -> ChatMessage:
    store = Store(home / "sessions.db")
    session = await store.open_session((await store.list_sessions())[0].session_id)
    await store.aclose()
    return session.messages[-1]
