"""What an answer that streams costs, and how soon it and the keys typed meanwhile are shown."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil

from tests.benchmarks.bench import PROMPTED, Bench, Row, median, p95, ratio_row, row
from tests.benchmarks.stores import fill_store
from tests.benchmarks.terminal import Drawn
from tests.benchmarks.texts import KINDS, mixed

_SHAPES = ("fence", "table", "list", "paragraph", "quote")
_END = "THE-END-OF-ALL"
_PAUSE_S = (0.08, 0.2)
"""Range of the pause between two keys, drawn at random.

With a fixed pause, each key comes at the same time after a frame: an echo waits for none or for all
of them.
"""


def _stream(bench: Bench, text: str, keys: int = 0, rate: float = 100) -> dict:
    drawn = bench.ready_for(text, rate)
    cpu_s = drawn.cpu_s()
    since = drawn.count
    started_s = drawn.type("go\r")
    echoes = []
    pauses = Random(keys)  # noqa: S311 - no secret
    time.sleep(1)
    for number in range(keys):
        key = chr(0x4E00 + number)  # nothing else can be taken for the echo of such a sign
        mark = drawn.count
        at_s = time.perf_counter()
        drawn.type(key)
        echoes.append((drawn.wait_for(key, since=mark) - at_s) * 1e3)
        time.sleep(pauses.uniform(*_PAUSE_S))
    bench.server.done.wait(60)
    ended_s = time.perf_counter()
    time.sleep(0.4)
    coloured = (one.cpu_times() for one in psutil.Process(drawn.pid).children(recursive=True))
    result = {
        "cpu_s": drawn.cpu_s() - cpu_s + sum(times.user + times.system for times in coloured),
        "bytes_per_s": drawn.drawn_bytes(since) / (ended_s - started_s),
        "echo_ms": echoes,
        "lag_ms": _lags(bench, drawn, since),
    }
    drawn.end()
    return result


def _lags(bench: Bench, drawn: Drawn, since: int) -> list[float]:
    """Return how long after the server's write each numbered mark of the text was on the screen."""
    text = bench.server.text
    sent_s = {}
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
    text = mixed(8_000)
    ours = []
    logs = []
    plain = []
    for _ in range(bench.runs):
        ours.append(_stream(bench, text))
        plain.append(_of_llm(bench, text, 100)[0])
        logs.append(_logged(bench, text))
    cpus = [one["cpu_s"] for one in ours]
    yield ratio_row("CPU per 1k tokens at 100 tok/s : llm", cpus, plain, "<= 0.9 x")
    yield ratio_row("CPU per 1k tokens at 100 tok/s : Log", cpus, logs, "<= 0.3 x")
    per_1k = 4_000 / len(text)
    seconds = "; ".join(f"{median(one) * per_1k:.2f}" for one in (cpus, plain, logs))
    yield row("  the same in seconds, lmchat; llm; Log", f"{seconds} s")
    lags = [lag for one in ours for lag in one["lag_ms"]]
    yield row(
        "screen behind the server's write, p50 / p95",
        f"{median(lags):.0f} / {p95(lags):.0f} ms",
        "<= - / 100",
    )
    rate = median([one["bytes_per_s"] for one in ours]) / 1e3
    yield row("bytes to the terminal at 100 tok/s", f"{rate:.0f} kB/s", "<= 60 kB/s")


def memory(bench: Bench) -> Iterator[Row]:
    """After an answer of 2 000 tokens, against llm, which prints it as it comes."""
    text = f"{mixed(8_000)}\n\n{_END}"
    own = []
    all_processes = []
    plain = []
    for _ in range(bench.runs):
        drawn = bench.ready_for(text, 400)
        drawn.type("go\r")
        bench.server.done.wait(60)
        drawn.rest()
        own.append(drawn.memory_mb())
        children = psutil.Process(drawn.pid).children(recursive=True)
        all_processes.append(own[-1] + sum(one.memory_info().rss for one in children) / 1e6)
        drawn.end()
        plain.append(_of_llm(bench, text, 400)[1])
    figure = "memory after 2 000 tokens"
    yield row(
        f"{figure}; with the process that colours code",
        f"{median(own):.0f}; {median(all_processes):.0f} MB",
    )
    yield ratio_row(f"{figure} : llm", own, plain, "<= 1.15 x")
    yield ratio_row(
        "  the same with the process that colours code", all_processes, plain, "<= 1.15 x"
    )


def _of_llm(bench: Bench, text: str, rate: float) -> tuple[float, float]:
    """Return the CPU that `llm chat` takes for an answer, and its memory behind it."""
    env = bench.env()
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    llm = shutil.which("llm", path=places)
    if llm is None:
        raise FileNotFoundError("llm is missing: install the extra `dev`")
    folder = Path(env["HOME"]) / "llm"
    folder.mkdir(parents=True)
    (folder / "extra-openai-models.yaml").write_text(
        f"- model_id: bench\n  model_name: bench\n  api_base: {bench.server.url}/v1\n"
    )
    own = {"LLM_USER_PATH": str(folder), "OPENAI_API_KEY": "none"}
    drawn = Drawn([llm, "chat", "-m", "bench"], env | own)
    drawn.wait_for("> ")
    bench.server.text = text
    bench.server.rate = rate
    bench.server.done.clear()
    cpu_s = drawn.rest()
    drawn.type("go\r")
    bench.server.done.wait(60)
    used_s = drawn.rest() - cpu_s
    memory_mb = drawn.memory_mb()
    drawn.end("\x04")
    return used_s, memory_mb


def echo(bench: Bench) -> Iterator[Row]:
    for rate in (100, 200):
        text = mixed(16 * rate)
        echoes = [
            ms
            for _ in range(bench.runs)
            for ms in _stream(bench, text, keys=20, rate=rate)["echo_ms"]
        ]
        yield row(
            f"key echo while streaming at {rate} tok/s, p50 / p95",
            f"{median(echoes):.1f} / {p95(echoes):.1f} ms",
            "<= 10 / 43",
        )


def stop(bench: Bench) -> Iterator[Row]:
    """From the Esc byte to the hang-up that the server sees, and to a screen at rest."""
    hung = []
    rest = []
    for _ in range(bench.runs):
        drawn = bench.ready_for(mixed(20_000), 100)
        drawn.type("go\r")
        time.sleep(1)
        mark = drawn.count
        at_s = drawn.type("\x1b")
        bench.server.hung_up.wait(5)
        hung.append((bench.server.hung_up_s - at_s) * 1e3)
        time.sleep(0.5)
        rest.append((drawn.shown_s(["stopped"], since=mark)["stopped"] - at_s) * 1e3)
        drawn.end()
    yield row(
        "Esc byte: hang-up seen by the server; screen at rest",
        f"{median(hung):.0f}; {median(rest):.0f} ms",
        "<= 150; 200",
    )


def flood(bench: Bench) -> Iterator[Row]:
    """20 000 tokens at full speed: from the last byte sent to its being shown."""
    times = []
    for _ in range(bench.runs):
        drawn = bench.ready_for(f"{mixed(80_000)}\n\n{_END}", 0)
        mark = drawn.count
        drawn.type("go\r")
        bench.server.done.wait(30)
        drawn.rest()
        shown_s = drawn.shown_s([_END], since=mark)[_END]
        times.append(shown_s - bench.server.written[-1][0])
        drawn.end()
    yield row(
        "20 000 tokens at full speed: last sent -> shown", f"{median(times):.2f} s", "<= 0.5 s"
    )


def _growing(bench: Bench, text: str, ahead: int, home: Path | None = None, *argv: str) -> float:
    """Return the CPU of 1k tokens at 100 tokens a second, behind so many characters at once."""
    drawn = bench.lmchat(*argv, home=home)
    drawn.wait_for("LAST-ANSWER" if home else PROMPTED)
    drawn.rest()
    server = bench.server
    server.text = text
    server.rate = 100
    server.ahead = ahead
    for step in (server.is_ahead, server.go_on, server.is_sent, server.done):
        step.clear()
    drawn.type("go\r")
    server.is_ahead.wait(30)
    cpu_s = drawn.rest()
    server.go_on.set()
    server.is_sent.wait(60)
    time.sleep(0.3)
    used_s = drawn.cpu_s() - cpu_s
    drawn.end()
    server.done.wait(10)
    server.ahead = 0
    return used_s / (len(text) - ahead) * 4_000


def growth(bench: Bench) -> Iterator[Row]:
    """Long answers and long sessions against short ones; all shapes against prose."""
    homes = {count: fill_store(bench.folder / f"store{count}", count) for count in (10, 10_000)}
    more = 800
    found: dict[str, list[float]] = {}
    for _ in range(bench.runs):
        for size in (2_000, 200_000):
            found.setdefault(str(size), []).append(_growing(bench, mixed(size + more), size))
        for count, home in homes.items():
            used_s = _growing(bench, mixed(2_000 + more), 2_000, bench.copy_of(home), "-r", "last")
            found.setdefault(f"session {count}", []).append(used_s)
        for kind in ("prose", *_SHAPES):
            found.setdefault(kind, []).append(_growing(bench, KINDS[kind](20_000 + more), 20_000))
    yield ratio_row(
        "CPU per 1k tokens, answer of 200 kB : 2 kB", found["200000"], found["2000"], "<= 1.3 x"
    )
    yield ratio_row(
        "the same, session of 10 000 messages : 10",
        found["session 10000"],
        found["session 10"],
        "<= 1.3 x",
    )
    for kind in _SHAPES:
        yield ratio_row(
            f"the same, one {kind} of 20 kB : prose", found[kind], found["prose"], "<= 2 x"
        )


def scroll(bench: Bench) -> Iterator[Row]:
    """Pages through 10 000 messages, then another width of the terminal."""
    stored = fill_store(bench.folder / "store10000", 10_000)
    times = []
    cpus = []
    for _ in range(bench.runs):
        # copied, else a run starts where the one before has read
        home = bench.still(bench.copy_of(stored))
        drawn = bench.lmchat("-r", "last", home=home)
        drawn.wait_for("LAST-ANSWER")
        drawn.rest()
        for _ in range(25):
            mark = drawn.count
            at_s = drawn.type("\x1b[5~")
            times.append((drawn.shown_since(mark) - at_s) * 1e3)
        for columns in (100, 90, 120):
            cpu_s = drawn.rest()
            drawn.resize(columns, 40)
            cpus.append((drawn.rest() - cpu_s) * 1e3)
        drawn.end()
    yield row(
        "scrolling: key -> shown, 10 000 messages, p50 / p95",
        f"{median(times):.0f} / {p95(times):.0f} ms",
        "<= - / 50",
    )
    yield row("resize with 10 000 messages, CPU", f"{median(cpus):.0f} ms", "<= 150 ms")
