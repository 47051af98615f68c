"""What the proxy-client layer adds to httpx, and the store to an answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lmchat.domain.message import AnswerState, ChatMessage, Role, new_id, now, text_message
from lmchat.domain.session import SessionHeader
from lmchat.storage.store import SqliteStore
from tests.benchmarks.bench import Bench, Row, median, p95, row
from tests.benchmarks.texts import mixed

EVENTS = 20_000
USUAL = {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
"""What nearly every server repeats in each event."""
TIMED = {
    **USUAL,
    "timings": {
        "cache_n": 0,
        "prompt_n": 10,
        "prompt_ms": 22.744,
        "prompt_per_token_ms": 2.2744,
        "prompt_per_second": 439.6763981709462,
        "predicted_n": 100,
        "predicted_ms": 1815.7,
        "predicted_per_token_ms": 18.157,
        "predicted_per_second": 55.075177617447814,
    },
}
"""And llama.cpp, as we ask it."""
WRITES = (
    ("an event a write", 0, USUAL),
    ("writes of 4 KiB", 4 << 10, USUAL),
    ("writes of 64 KiB", 64 << 10, USUAL),
    ("the same, with timings in each event", 64 << 10, TIMED),
)


def _child(bench: Bench, *argv: str) -> dict:
    argv = (sys.executable, "-m", "tests.benchmarks.proxy_child", *argv, bench.server.url)
    return json.loads(subprocess.run(argv, env=bench.env(), check=True, capture_output=True).stdout)


def proxy(bench: Bench) -> Iterator[Row]:
    """The same bytes read by httpx alone, and as events by the layer."""
    bench.server.text = mixed(4 * EVENTS)
    for how, bench.server.write_bytes, bench.server.common in WRITES:
        yield from _cpu(bench, how)
    bench.server.write_bytes, bench.server.common = None, {}
    late_ms: dict[str, list[float]] = {"httpx": [], "lmchat": []}
    for name, late in late_ms.items():
        bench.server.text, bench.server.rate = mixed(2_000), 100
        came_s = _child(bench, name)["came_s"]
        sent_s = [at_s for at_s, _ in bench.server.written]
        late += [(came - sent) * 1e3 for came, sent in zip(came_s, sent_s, strict=False)]
    added = p95(late_ms["lmchat"]) - median(late_ms["httpx"])
    yield row("proxy layer: latency added to an event, p95", f"{added:.2f} ms", "<= 5 ms", "<= 1 ms")


def _cpu(bench: Bench, how: str) -> Iterator[Row]:
    cpus: dict[str, list[float]] = {"raw": [], "lmchat": []}
    for _ in range(bench.runs):
        for name, used in cpus.items():
            used.append(_child(bench, name)["cpu_s"] / EVENTS * 1e6)
    ours, raw = median(cpus["lmchat"]), median(cpus["raw"])
    yield row(f"proxy layer, CPU : raw httpx, {how}", f"{ours / raw:.2f} x", "<= 3 x", "<= 1.5 x")
    yield row("  the same per 1000 events, lmchat; httpx", f"{ours:.2f}; {raw:.2f} ms")


def models(bench: Bench) -> Iterator[Row]:
    found = [_child(bench, "models") for _ in range(bench.runs)]
    for name, must, aim in (("hit", 50, 1), ("miss", 500, 20), ("health", 2_000, 20)):
        ms = median([one[name] for one in found]) * 1e3
        yield row(f"models: {name}", f"{ms:.2f} ms", f"< {must} ms", f"< {aim} ms")
    raw_ms = median([one["raw"] for one in found]) * 1e3
    yield row("  one request by httpx alone, its connection open", f"{raw_ms:.2f} ms")


def append(bench: Bench) -> Iterator[Row]:
    times = asyncio.run(_append(bench.folder / "append.db"))
    yield row(
        "append of streamed text to the store, there and back, p50 / p95",
        f"{median(times):.2f} / {p95(times):.2f} ms",
        "<= - / 1 ms",
        "<= - / 0.1 ms",
    )


async def _append(file: Path) -> list[float]:
    store = SqliteStore(file)
    header = SessionHeader(session_id=new_id(), title="Streams", created_at=now(), updated_at=now())
    prompt = text_message(Role.USER, "go")
    await store.append(header, prompt)
    answer = ChatMessage(
        message_id=new_id(),
        role=Role.ASSISTANT,
        parts=(),
        created_at=now(),
        parent_id=prompt.message_id,
        state=AnswerState.STREAMING,
    )
    await store.begin_answer(header.session_id, answer)
    times = []
    for _ in range(300):
        began_s = time.perf_counter()
        await store.add_pieces(answer.message_id, [("text", "x" * 100)])
        times.append((time.perf_counter() - began_s) * 1e3)
        await asyncio.sleep(0.005)
    await store.aclose()
    return times
