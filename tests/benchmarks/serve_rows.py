"""What `lmchat serve` adds to a request: time until the first byte, and memory over many requests."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.bench import Bench, Row, median, row
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer
from tests.support.serving import serving

_ASKED = 200  # of each way, in turn
_MANY = 10_000
_WARM = 2_000  # requests after which the memory has its size
_CONFIG = "[serve]\nrequests_per_minute = 0\n"
_BODY = json.dumps(
    {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
)


def serve(bench: Bench) -> Iterator[Row]:
    """The same stream from the server and through `lmchat serve`, one after the other in turn."""
    home = bench.folder / "serve"
    home.mkdir(exist_ok=True)
    with (
        ScriptedServer() as server,
        serving(home, url=plain(server, "tiny").url, config=_CONFIG) as gateway,
    ):
        direct, through = (_connection(port) for port in (server.port, gateway.port))
        direct_ms: list[float] = []
        through_ms: list[float] = []
        for _ in range(_ASKED):
            direct_ms.append(_first_byte_ms(direct))
            through_ms.append(_first_byte_ms(through))
        added = median(through_ms) - median(direct_ms)
        yield row("serve: first byte later than direct, p50", f"{added:.2f} ms", "<= 3 ms")
        yield row("  direct; through", f"{median(direct_ms):.2f}; {median(through_ms):.2f} ms")

        for _ in range(_WARM):
            _first_byte_ms(through)
        warm_mb = _memory_mb(gateway.process.pid)
        for _ in range(_MANY - _WARM):
            _first_byte_ms(through)
        grown = _memory_mb(gateway.process.pid) / warm_mb
        figure = f"serve: memory after {_MANY} requests : after {_WARM}"
        yield row(figure, f"{grown:.2f} x", "<= 1.1 x", "<= 1.02 x")
        yield row("  after the first", f"{warm_mb:.0f} MB")


def _connection(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    return connection


def _first_byte_ms(connection: http.client.HTTPConnection) -> float:
    """Ask for a stream, read it to its end, and return the time of its first byte."""
    began_s = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", _BODY)
    reply = connection.getresponse()
    reply.read(1)
    elapsed_ms = (time.perf_counter() - began_s) * 1e3
    reply.read()
    return elapsed_ms


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1e3
