"""The rows: each measures lmchat and its baseline in turn."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.server import PacedServer
from tests.benchmarks.store import fill_store
from tests.benchmarks.terminal import Drawn
from tests.benchmarks.texts import mixed

Row = dict[str, str]
PAINTED = "New session"
PROMPTED = "OpenAI-compatible"


class Bench:
    def __init__(self, folder: Path, runs: int) -> None:
        self.folder, self.runs = folder, runs
        self.server = PacedServer()
        self.homes = 0

    def env(self, home: Path | None = None) -> dict[str, str]:
        self.homes += 1
        home = home or self.folder / f"home{self.homes}"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LMCHAT_HOME": str(home),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "LMCHAT_ENDPOINT": self.server.url,
        }

    def lmchat(self, *argv: str, home: Path | None = None) -> Drawn:
        return Drawn([sys.executable, "-m", "lmchat", *argv], self.env(home))

    def bare(self, *argv: str) -> Drawn:
        return Drawn([sys.executable, "-m", "tests.benchmarks.bare", *argv], self.env())


def row(figure: str, value: str, must: str = "", aim: str = "") -> Row:
    return {"figure": figure, "value": value, "must": must, "aim": aim}


def median(values: list[float]) -> float:
    return statistics.median(values)


def p95(values: list[float]) -> float:
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


def cpu_of(argv: list[str], env: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def version(bench: Bench) -> Iterator[Row]:
    ours, bare = [], []
    for _ in range(2 * bench.runs):
        ours.append(cpu_of([sys.executable, "-m", "lmchat", "--version"], bench.env()))
        bare.append(cpu_of([sys.executable, "-c", "pass"], bench.env()))
    yield row(
        "lmchat --version, CPU : python -c pass", f"{sum(ours) / sum(bare):.2f} x", "<= 2.5 x", "<= 2 x"
    )


def _start(drawn: Drawn, marker: str) -> tuple[float, float, float]:
    """Return seconds to paint and to the echo of the first key, and memory."""
    painted_s = drawn.wait_for(marker)
    since = drawn.count
    drawn.type("Q")
    echoed_s = drawn.wait_for("Q", since=since)
    time.sleep(1)
    memory_mb = drawn.memory_mb()
    drawn.end()
    return painted_s - drawn.began_s, echoed_s - drawn.began_s, memory_mb


def start(bench: Bench) -> Iterator[Row]:
    ours, bare = [], []
    for _ in range(bench.runs):
        bare.append(_start(bench.bare(), "BARE-PAINTED"))
        ours.append(_start(bench.lmchat(), PAINTED))
    paint, key, memory = (([one[n] for one in ours], [one[n] for one in bare]) for n in range(3))
    yield row("first paint : bare", f"{median(paint[0]) / median(paint[1]):.2f} x", "<= 1.5 x", "<= 1.15 x")
    yield row("  first paint, lmchat; bare", f"{median(paint[0]) * 1e3:.0f}; {median(paint[1]) * 1e3:.0f} ms")
    yield row("first key echoed : bare", f"{median(key[0]) / median(key[1]):.2f} x", "<= 1.5 x", "<= 1.2 x")
    yield row("  first key, lmchat; bare", f"{median(key[0]) * 1e3:.0f}; {median(key[1]) * 1e3:.0f} ms")
    yield row(
        "memory at the prompt above bare",
        f"{median(memory[0]) - median(memory[1]):.1f} MB",
        "<= 30 MB",
        "<= 15 MB",
    )


def large(bench: Bench) -> Iterator[Row]:
    """Open a session of 10 000 messages against one of 10."""
    found: dict[int, list[tuple[float, float, float]]] = {10: [], 10_000: []}
    homes = {count: fill_store(bench.folder / f"store{count}", count) for count in found}
    for _ in range(bench.runs):
        for count, home in homes.items():
            found[count].append(_start(bench.lmchat("-r", "last", home=home), "LAST-ANSWER"))
    small, big = found[10], found[10_000]
    for n, name in enumerate(("first paint", "first key")):
        ratio = median([one[n] for one in big]) / median([one[n] for one in small])
        yield row(f"{name}, session of 10 000 messages : 10", f"{ratio:.2f} x", "<= 1.3 x", "<= 1.05 x")
    more = median([one[2] for one in big]) - median([one[2] for one in small])
    text_mb = 10_000 * 450 / 1e6
    yield row("memory, 10 000 messages above 10 : text", f"{more / text_mb:.1f} x", "<= 6 x", "<= 2 x")


def _stream(
    bench: Bench, text: str, keys: int = 0, home: Path | None = None, argv: tuple[str, ...] = ()
) -> dict:
    drawn = bench.lmchat(*argv, home=home)
    drawn.wait_for(PROMPTED)
    time.sleep(0.5)
    bench.server.text, bench.server.rate = text, 100
    bench.server.done.clear()
    cpu_s, since = drawn.cpu_s(), drawn.count
    began_s = drawn.type("go\r")
    echoes = []
    time.sleep(1)
    for number in range(keys):
        key = chr(0x4E00 + number)  # a sign of its own, so that nothing else can be taken for its echo
        mark, at_s = drawn.count, time.perf_counter()
        drawn.type(key)
        echoes.append((drawn.wait_for(key, since=mark) - at_s) * 1e3)
        time.sleep(0.11)
    bench.server.done.wait(60)
    ended_s = time.perf_counter()
    time.sleep(0.4)
    result = {
        "cpu_s": drawn.cpu_s() - cpu_s,
        "bytes_per_s": drawn.drawn_bytes(since) / (ended_s - began_s),
        "echo_ms": echoes,
        "lag_ms": _lags(bench, drawn, since),
    }
    drawn.end()
    return result


def _lags(bench: Bench, drawn: Drawn, since: int) -> list[float]:
    """Return how long after the server's write each numbered mark of the text was on the screen."""
    text, sent_s = bench.server.text, {}
    for number in range(1, 200):
        mark = f"#{number:03d}#"
        end = text.find(mark) + len(mark)
        if end < len(mark):
            break
        sent_s[mark] = next(at_s for at_s, sent in bench.server.written if sent >= end)
    shown_s = drawn.shown_s(sent_s, since=since)
    return [(at_s - sent_s[mark]) * 1e3 for mark, at_s in shown_s.items()]


def _logged(bench: Bench, text: str) -> float:
    file = bench.folder / "log.txt"
    file.write_text(text, encoding="utf-8")
    drawn = bench.bare("log", str(file), "100")
    drawn.wait_for("LOG-BEGINS")
    cpu_s = drawn.cpu_s()
    drawn.wait_for("LOG-ENDS", timeout_s=60)
    time.sleep(0.4)
    used_s = drawn.cpu_s() - cpu_s
    drawn.end()
    return used_s


def stream(bench: Bench) -> Iterator[Row]:
    text = mixed(4000)
    ours, logs = [], []
    for _ in range(max(bench.runs // 2, 1)):
        ours.append(_stream(bench, text))
        logs.append(_logged(bench, text))
    cpu_s = median([one["cpu_s"] for one in ours])
    yield row("CPU per 1k tokens at 100 tok/s : Log", f"{cpu_s / median(logs):.2f} x", "<= 0.8 x", "<= 0.3 x")
    yield row("  the same in seconds, lmchat; Log", f"{cpu_s:.2f}; {median(logs):.2f} s")
    lags = [lag for one in ours for lag in one["lag_ms"]]
    yield row(
        "screen behind the server's write, p50 / p95",
        f"{median(lags):.0f} / {p95(lags):.0f} ms",
        "<= - / 100",
        "<= - / 60",
    )
    rate = median([one["bytes_per_s"] for one in ours]) / 1e3
    yield row("bytes to the terminal at 100 tok/s", f"{rate:.0f} kB/s", "<= 250 kB/s", "<= 80 kB/s")


def echo(bench: Bench) -> Iterator[Row]:
    echoes = [
        ms for _ in range(max(bench.runs // 2, 1)) for ms in _stream(bench, mixed(4000), keys=50)["echo_ms"]
    ]
    yield row(
        "key echo while streaming at 100 tok/s, p50 / p95",
        f"{median(echoes):.1f} / {p95(echoes):.1f} ms",
        "<= 10 / 43",
        "<= 5 / 20",
    )


def stop(bench: Bench) -> Iterator[Row]:
    """From the Esc byte to the hang-up that the server sees, and to a screen at rest."""
    hung, rest = [], []
    for _ in range(bench.runs):
        drawn = bench.lmchat()
        drawn.wait_for(PROMPTED)
        bench.server.text, bench.server.rate = mixed(20_000), 100
        drawn.type("go\r")
        time.sleep(2)
        mark = drawn.count
        at_s = drawn.type("\x1b")
        bench.server.hung_up.wait(5)
        hung.append((bench.server.hung_up_s - at_s) * 1e3)
        time.sleep(1)
        rest.append((drawn.shown_s(["stopped"], since=mark)["stopped"] - at_s) * 1e3)
        drawn.end()
    yield row(
        "Esc byte: hang-up seen by the server; screen at rest",
        f"{median(hung):.0f}; {median(rest):.0f} ms",
        "<= 150; 200",
        "<= 40; 60",
    )


def idle(bench: Bench) -> Iterator[Row]:
    home = bench.folder / "still"
    home.mkdir()
    (home / "config.toml").write_text("[ui]\nreduced_motion = true\n")
    drawn = bench.lmchat(home=home)
    drawn.wait_for(PROMPTED)
    time.sleep(3)
    cpu_s, since = drawn.cpu_s(), drawn.count
    time.sleep(20)
    share = (drawn.cpu_s() - cpu_s) / 20 * 100
    drawn_bytes = drawn.drawn_bytes(since)
    drawn.end()
    yield row("idle, sidebar on, no blinking, share of a core", f"{share:.2f} %", "<= 0.5 %", "<= 0.15 %")
    yield row("  bytes drawn in 20 s of it", f"{drawn_bytes}")


def flood(bench: Bench) -> Iterator[Row]:
    """20 000 tokens at full speed: from the last byte sent to its being shown."""
    times = []
    for _ in range(bench.runs):
        drawn = bench.lmchat()
        drawn.wait_for(PROMPTED)
        bench.server.text, bench.server.rate = mixed(80_000) + "\n\nTHE-END-OF-ALL", 0
        mark = drawn.count
        drawn.type("go\r")
        bench.server.done.wait(30)
        time.sleep(1.5)
        shown_s = drawn.shown_s(["THE-END-OF-ALL"], since=mark)["THE-END-OF-ALL"]
        times.append(shown_s - bench.server.written[-1][0])
        drawn.end()
    yield row(
        "20 000 tokens at full speed: last sent -> shown", f"{median(times):.2f} s", "<= 0.5 s", "<= 0.2 s"
    )


def commands(bench: Bench) -> Iterator[Row]:
    home = fill_store(bench.folder / "store-commands", 10_000)
    for name, argv in (("sessions", ["sessions"]), ("search", ["search", "shade"])):
        times = []
        for _ in range(bench.runs):
            began_s = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "lmchat", *argv],
                env=bench.env(home),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            times.append((time.perf_counter() - began_s) * 1e3)
        yield row(
            f"lmchat {name}, process and all, 10 000 messages",
            f"{median(times):.0f} ms",
            "<= 250 ms",
            "<= 120 ms",
        )


def detect(bench: Bench) -> Iterator[Row]:
    env = bench.env()
    del env["LMCHAT_ENDPOINT"]
    code = (
        "import asyncio,time,json\n"
        "from lmchat.config.settings import Settings\nfrom lmchat.proxy.client import ProxyClient\n"
        "async def main():\n"
        "    client = ProxyClient(Settings(), key_for=lambda _: None)\n"
        "    t = time.perf_counter(); await client.detect(); print(json.dumps(time.perf_counter() - t))\n"
        "    await client.aclose()\n"
        "asyncio.run(main())"
    )
    times = [
        json.loads(
            subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True).stdout
        )
        for _ in range(bench.runs)
    ]
    yield row("detection, all candidates refused", f"{median(times):.2f} s", "<= 2 s", "<= 0.3 s")


ROWS = {
    "version": version,
    "start": start,
    "large": large,
    "stream": stream,
    "echo": echo,
    "stop": stop,
    "idle": idle,
    "flood": flood,
    "commands": commands,
    "detect": detect,
}
