"""What commands for scripts save, against the real server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.benchmarks.bench import Bench, Row, median, row
from tests.support.real_server.server import RealServer

TEXTS = [f"Tell a story about {number} birds." for number in range(16)]
OPTIONS = {"max_tokens": 100, "ignore_eos": True, "cache_prompt": False}


def batch(bench: Bench) -> Iterator[Row]:
    """The same prompts one after the other, and two at once, at a server with two slots.

    What two at once save depends on the server; httpx alone says how much it is there.
    """
    source = bench.folder / "prompts.jsonl"
    source.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS))
    took_s: dict[tuple[str, int], list[float]] = {}
    with RealServer(slots=2, ctx=4096) as server:
        for _ in range(bench.runs):
            for jobs in (1, 2):
                ours, raw = (
                    took_s.setdefault(("lmchat", jobs), []),
                    took_s.setdefault(("httpx", jobs), []),
                )
                ours.append(_took_s(bench, server.url, source, jobs))
                raw.append(asyncio.run(_raw_s(server.url, jobs)))
    seconds = {key: median(values) for key, values in took_s.items()}
    ours = seconds["lmchat", 2] / seconds["lmchat", 1]
    raw = seconds["httpx", 2] / seconds["httpx", 1]
    yield row("batch: two at once : one at a time", f"{ours:.2f} x", "<= 0.65 x", "-")
    yield row("  the same by httpx alone", f"{raw:.2f} x")
    added_s = seconds["lmchat", 2] - seconds["httpx", 2]
    yield row("batch: lmchat - httpx, two at once", f"{added_s:.1f} s")


def _took_s(bench: Bench, url: str, source: Path, jobs: int) -> float:
    options = [
        word for name, value in OPTIONS.items() for word in ("--set", f"{name}={json.dumps(value)}")
    ]
    argv = (
        sys.executable,
        "-m",
        "lmchat",
        "--endpoint",
        url,
        "batch",
        str(source),
        "--jobs",
        str(jobs),
        *options,
    )
    began_s = time.perf_counter()
    subprocess.run(argv, env=bench.env(), check=True, capture_output=True)
    return time.perf_counter() - began_s


async def _raw_s(url: str, jobs: int) -> float:
    waiting = iter(TEXTS)
    began_s = time.perf_counter()
    async with httpx.AsyncClient(timeout=120, trust_env=False) as client:

        async def work_off() -> None:
            for text in waiting:
                body = {"messages": [{"role": "user", "content": text}], **OPTIONS}
                await client.post(f"{url}/v1/chat/completions", json=body)

        await asyncio.gather(*(work_off() for _ in range(jobs)))
    return time.perf_counter() - began_s
