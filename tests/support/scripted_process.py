"""The scripted server as a process of its own, for tests that run the program on a pty.

    python -m tests.support.scripted_server --product llama.cpp --ready-file R.json [--port N]
        [--say TEXT]... [--pause SECONDS] [--end finish|cut|hold] [--key KEY] [--seen SEEN.jsonl]

The ready file holds {"port", "url", "pid"}; SEEN.jsonl gets one line a request. Ends with SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from pathlib import Path

from tests.support.scripted_products import CHAT, PRODUCTS
from tests.support.scripted_server import DONE, Cut, Hold, Pause, ScriptedServer, Seen, finish, sse, usage


def main() -> int:
    """Serve until SIGTERM."""
    flags = _flags()
    server = ScriptedServer(port=flags.port)
    options = {"key": flags.key} if flags.key else {}
    PRODUCTS[flags.product](server, **options)
    if flags.say or flags.end != "finish":
        server.on(CHAT, _answer(flags))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    with server:
        if flags.ready_file:
            _write(flags.ready_file, {"port": server.port, "url": server.url, "pid": os.getpid()})
        _log_until(ended, server, flags.seen)
    return 0


def _answer(flags: argparse.Namespace):
    texts = flags.say or ["Hello", " there", "."]
    steps: list[object] = []
    for text in texts:
        steps += [text, Pause(flags.pause)]
    ends = {"finish": [finish(), usage(), DONE], "cut": [Cut(is_reset=True)], "hold": [Hold()]}
    return sse(*steps, *ends[flags.end])


def _log_until(ended: threading.Event, server: ScriptedServer, path: Path | None) -> None:
    written = 0
    while not ended.wait(0.05):
        fresh = server.seen()[written:]
        written += len(fresh)
        if path and fresh:
            with path.open("a") as file:
                file.writelines(json.dumps(_row(one)) + "\n" for one in fresh)


def _row(seen: Seen) -> dict[str, object]:
    return {
        "method": seen.method,
        "path": seen.path,
        "headers": seen.headers,
        "body": seen.body.decode("utf-8", "replace"),
    }


def _write(path: Path, value: object) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value))
    part.replace(path)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--product", choices=sorted(PRODUCTS), default="plain")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--seen", type=Path)
    parser.add_argument("--say", action="append")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--end", choices=("finish", "cut", "hold"), default="finish")
    parser.add_argument("--key")
    return parser.parse_args()
