"""What the client of servers adds to httpx, and how soon it finds servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from tests.benchmarks.bench import Bench, Row, p95, ratio_row, row
from tests.benchmarks.client_child import PORTS
from tests.benchmarks.texts import mixed
from tests.support.scripted_server import Hold, ScriptedServer, raw_reply

EVENTS = 20_000


def _child(bench: Bench, name: str, about: str = "") -> dict:
    argv = (sys.executable, "-m", "tests.benchmarks.client_child", name, about or bench.server.url)
    return json.loads(subprocess.run(argv, env=bench.env(), check=True, capture_output=True).stdout)


def client(bench: Bench) -> Iterator[Row]:
    """The same bytes read by httpx alone, and as events by the client."""
    bench.server.text = mixed(4 * EVENTS)
    bench.server.rate = 0
    cpus: dict[str, list[float]] = {"httpx": [], "lmchat": []}
    for _ in range(bench.runs):
        for name, used in cpus.items():
            used.append(_child(bench, name)["cpu_s"] / EVENTS * 1e6)
    yield ratio_row("client, CPU : raw httpx", cpus["lmchat"], cpus["httpx"], "<= 3 x")
    late_ms: dict[str, list[float]] = {"httpx": [], "lmchat": []}
    for name, late in late_ms.items():
        bench.server.text = mixed(2_000)
        bench.server.rate = 100
        came_s = _child(bench, name)["came_s"]
        sent_s = [at_s for at_s, _ in bench.server.written]
        late += [(came - sent) * 1e3 for came, sent in zip(came_s, sent_s, strict=False)]
    added = p95(late_ms["lmchat"]) - median(late_ms["httpx"])
    yield row("client: latency added to an event, p95", f"{added:.2f} ms", "<= 5 ms")


def models(bench: Bench) -> Iterator[Row]:
    found = [_child(bench, "models") for _ in range(bench.runs)]
    for name, must in (("hit", 50), ("miss", 500), ("health", 2_000)):
        ms = median([one[name] for one in found]) * 1e3
        yield row(f"models: {name}", f"{ms:.2f} ms", f"< {must} ms")


def detect(bench: Bench) -> Iterator[Row]:
    """A first look around in a fresh process, import left out."""
    with ScriptedServer() as silent:
        silent.unknown = raw_reply(Hold())
        for kind, places in (("silent", dict.fromkeys(PORTS, silent.port)), ("refused", {})):
            found = [_child(bench, "detect", json.dumps(places)) for _ in range(bench.runs)]
            ours_ms = median([one["lmchat_s"] for one in found]) * 1e3
            yield row(f"detection, all {kind}", f"{ours_ms:.0f} ms", "<= 2000 ms")
