"""What a kill costs."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lmchat.domain.message import ChatMessage
from lmchat.storage.store import SqliteStore
from tests.benchmarks.bench import Bench, Row, median, row
from tests.benchmarks.texts import mixed

KILLS = 40
"""For each run of five; 200 in all."""


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
        lost_ms.append(max((killed_s - at_s for at_s, chars in sent if chars > kept), default=0) * 1e3)
    figure = f"{KILLS * bench.runs} kills in mid-answer: text lost, worst / median"
    yield row(figure, f"{max(lost_ms):.0f} / {median(lost_ms):.0f} ms", "<= 250 ms")
    yield row("  the same in characters", f"{max(lost_chars)} / {median(lost_chars):.0f}")


async def _last(home: Path) -> ChatMessage:
    store = SqliteStore(home / "sessions.db")
    session = await store.open_session((await store.list_sessions())[0].session_id)
    await store.aclose()
    return session.messages[-1]
