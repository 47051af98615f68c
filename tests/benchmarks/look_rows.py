"""Detection, and how fast a server sees that its client has left; each beside the same by httpx alone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, aclosing
from functools import partial

import httpx

from lmchat.config.settings import Settings
from lmchat.domain.event import RequestSent, TextDelta
from lmchat.proxy.client import ProxyClient
from lmchat.proxy.servers import SERVERS
from tests.benchmarks.bench import Bench, Row, median, row
from tests.support.proxy_calls import ask
from tests.support.scripted_products import CHAT, plain
from tests.support.scripted_server import Hold, Reply, ScriptedServer, Seen, raw_reply, sse

PORTS = tuple(port for server in SERVERS for port in server.ports)
MUST_AIM = {
    "all answering": ("<= 150 ms", "<= 150 ms"),
    "one silent": ("<= 2000 ms", "-"),
    "all silent": ("<= 2000 ms", "<= 300 ms"),
    "all refused": ("<= 2000 ms", "<= 300 ms"),
}


def detect(bench: Bench) -> Iterator[Row]:
    """A first look around in a fresh process, import left out; the baseline asks every port for its models."""
    for kind, (must, aim) in MUST_AIM.items():
        with ExitStack() as stack:
            places = _places(kind, stack)
            found = [_looked(bench, places) for _ in range(bench.runs)]
        ours, raw = (median([one[name] for one in found]) * 1e3 for name in ("lmchat_s", "httpx_s"))
        yield row(f"detection, {kind}", f"{ours:.0f} ms", must, aim)
        if kind in ("all answering", "all refused"):
            yield row("  one httpx request a port, all at once", f"{raw:.0f} ms")


def _places(kind: str, stack: ExitStack) -> dict[int, int]:
    if kind == "all refused":
        return {}
    servers = {port: stack.enter_context(ScriptedServer()) for port in PORTS}
    for number, server in enumerate(servers.values()):
        if kind == "all silent" or (kind == "one silent" and number == 0):
            server.unknown = raw_reply(Hold())
        else:
            plain(server, "tiny")
    return {port: server.port for port, server in servers.items()}


def _looked(bench: Bench, places: dict[int, int]) -> dict[str, float]:
    argv = (sys.executable, "-m", "tests.benchmarks.look_child", json.dumps(places))
    return json.loads(subprocess.run(argv, env=bench.env(), check=True, capture_output=True).stdout)


def cancel(bench: Bench) -> Iterator[Row]:
    """From closing the stream to the end of the connection, as the server sees it."""
    stages: Sequence[tuple[str, Reply, type]] = (
        ("before the headers", raw_reply(Hold()), RequestSent),
        ("while it answers", sse("Hello", Hold()), TextDelta),
    )
    with ScriptedServer() as server:
        plain(server, "tiny")
        for name, reply, until in stages:
            server.on(CHAT, reply)
            found: dict[str, list[float]] = {"lmchat": [], "httpx": []}
            for _ in range(4 * bench.runs):
                found["lmchat"].append(_left_ms(server, partial(_leave, server, until)))
                found["httpx"].append(_left_ms(server, partial(_leave_raw, server, name)))
            ours, raw = median(found["lmchat"]), median(found["httpx"])
            yield row(f"cancel {name}: seen by the server", f"{ours:.1f} ms", "<= 100 ms", "-")
            yield row("  the same by httpx alone", f"{raw:.1f} ms")


def _left_ms(
    server: ScriptedServer, leave: Callable[[Callable[[], Seen]], Coroutine[None, None, float]]
) -> float:
    count, stamps = len(server.seen(CHAT)) + 1, []

    def watch() -> None:
        server.wait_for(CHAT, count=count).client_left.wait(10)
        stamps.append(time.perf_counter())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began_s = asyncio.run(leave(lambda: server.wait_for(CHAT, count=count)))
    watcher.join()
    return (stamps[0] - began_s) * 1e3


async def _leave(server: ScriptedServer, until: type, seen: Callable[[], Seen]) -> float:
    client = ProxyClient(Settings(), key_for=lambda _: None)
    async with aclosing(client.stream(ask(server))) as events:
        async for event in events:
            if isinstance(event, until):
                await asyncio.to_thread(seen)
                break
        began_s = time.perf_counter()
    await client.aclose()
    return began_s


async def _leave_raw(server: ScriptedServer, stage: str, seen: Callable[[], Seen]) -> float:
    async with httpx.AsyncClient(trust_env=False) as client:
        task = asyncio.create_task(_read(client, f"{server.url}/v1/chat/completions"))
        await asyncio.to_thread(seen)
        if stage != "before the headers":
            await asyncio.sleep(0.02)  # until it reads
        began_s = time.perf_counter()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return began_s


async def _read(client: httpx.AsyncClient, url: str) -> None:
    async with client.stream("POST", url, json={}) as response:
        async for _ in response.aiter_raw():
            pass
