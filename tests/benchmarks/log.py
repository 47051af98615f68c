"""Measure the chat log on a pty of 120x40: `python -m tests.benchmarks.log [CASE…]`; a table, and JSON with --json."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

RUNS = 3
LETTERS = [chr(code) for code in range(0x430, 0x450)]
STREAM = {"rate": 100, "tokens": 300}
CASES: dict[str, list[dict]] = {
    "stream": [{"size": size, **STREAM} for size in (2_000, 20_000, 200_000)] + [{"design": "Log", **STREAM}],
    "messages": [{"messages": count, **STREAM} for count in (10, 10_000)],
    "shapes": [
        {"kind": kind, "size": 20_000, **STREAM}
        for kind in ("prose", "paragraph", "fence", "table", "list", "quote")
    ],
    "flood": [{"rate": 0, "tokens": 20_000, "size": 0}],
    "open": [{"messages": count} for count in (10, 10_000)],
    "resize": [{"messages": 10_000, "resize": True, "wait_s": 2}],
    "idle": [{"messages": 10, "wait_s": 5}],
    "echo": [{"size": 20_000, "keys": True, "rate": rate, "tokens": 5 * rate} for rate in (100, 200)],
}


def run(case: dict) -> dict[str, float]:
    """Run one case once."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result"
        options = json.dumps({"out": str(out), **case})
        argv = [sys.executable, "-m", "tests.benchmarks.log_app", options]
        pid, terminal = pty.fork()
        if not pid:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(argv[0], argv)  # noqa: S606 - our own app
        _resize(terminal, 120, 40)
        result = _pump(pid, terminal, out, case)
        os.close(terminal)
        return result | (json.loads(out.read_text()) if out.exists() else {"failed": 1})


def _resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _pump(pid: int, terminal: int, out: Path, case: dict) -> dict[str, float]:
    """Read all that comes; type letters, or change the size, where the case says so."""
    letters, echoes, waiting, count, tail = list(LETTERS), [], b"", 0, b""
    deadline, next_key, sent, is_resized = time.monotonic() + 90, time.monotonic() + 2.5, 0.0, False
    random.Random(1).shuffle(letters)  # noqa: S311 - not a secret
    while time.monotonic() < deadline:
        if case.get("resize") and not is_resized and out.with_suffix(".ready").exists():
            _resize(terminal, 100, 40)
            is_resized = True
        if case.get("keys") and letters and not waiting and time.monotonic() > next_key:
            waiting, sent, tail = letters.pop().encode(), time.monotonic(), b""
            os.write(terminal, waiting)
        if not select.select([terminal], [], [], 0.002)[0]:
            continue
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:
            break
        count, tail = count + len(data), tail[-8:] + data
        if waiting and waiting in tail:
            echoes.append(1e3 * (time.monotonic() - sent))
            waiting, next_key = b"", time.monotonic() + random.uniform(0.03, 0.12)  # noqa: S311 - no secret
    else:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    result = {"out_kb": count / 1024}
    if echoes:
        echoes.sort()
        result["echo_p50_ms"] = statistics.median(echoes)
        result["echo_p95_ms"] = echoes[min(len(echoes) - 1, int(len(echoes) * 0.95))]
    return result


def main() -> None:
    """Print the medians of each case."""
    wanted = [name for name in sys.argv[1:] if name in CASES] or list(CASES)
    report = []
    for name in wanted:
        for case in CASES[name]:
            runs = [run(case) for _ in range(RUNS)]
            figures = {
                key: round(statistics.median(run[key] for run in runs if key in run), 3) for key in runs[0]
            }
            report.append({"case": name, **case, **figures})
            if "--json" not in sys.argv:
                print(name, case, figures, flush=True)
    if "--json" in sys.argv:
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
