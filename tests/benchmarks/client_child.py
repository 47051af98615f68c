"""What one client measures in a process of its own; prints it as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import aclosing

import httpx

from lmchat.core.config.settings import Settings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import TextDelta
from lmchat.core.servers.products import PRODUCTS
from tests.support.client_calls import ask

PORTS = tuple(port for server in PRODUCTS for port in server.place.ports)


def _client(transport: httpx.AsyncBaseTransport | None = None) -> HttpServerClient:
    return HttpServerClient(Settings(), transport=transport)


async def read_httpx(url: str) -> dict:
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json={}) as response,
    ):
        came_s = []
        cpu_s = time.process_time()
        async for chunk in response.aiter_raw():
            came_s += [time.perf_counter()] * chunk.count(b'"content":"')
    return {"came_s": came_s, "cpu_s": time.process_time() - cpu_s}


async def read_lmchat(url: str) -> dict:
    came_s = []
    cpu_s = time.process_time()
    client = _client()
    async with aclosing(client.stream(ask(Endpoint.parse(url), model="bench"))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                if not came_s:
                    cpu_s = time.process_time()
                came_s.append(time.perf_counter())
    cpu_s = time.process_time() - cpu_s
    await client.aclose()
    return {"cpu_s": cpu_s, "came_s": came_s}


async def look(url: str) -> dict:
    client = _client()
    endpoint = Endpoint.parse(url)
    found = {}
    await client.models.check(endpoint)
    for name, work in (
        ("miss", lambda: client.models.listed(endpoint, is_refresh=True)),
        ("hit", lambda: client.models.listed(endpoint)),
        ("health", lambda: client.models.check(endpoint)),
    ):
        started_s = time.perf_counter()
        await work()
        found[name] = time.perf_counter() - started_s
    await client.aclose()
    return found


class Moved(httpx.AsyncBaseTransport):
    """Leads the well-known ports elsewhere; where nobody stands, to a port of this machine that refuses."""

    def __init__(self, places: dict[int, int]) -> None:
        self._places = places
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(port=self._places.get(request.url.port or 80, 1))
        moved = httpx.Request(
            request.method, url, headers=request.headers, extensions=request.extensions
        )
        return await self._inner.handle_async_request(moved)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def detect(words: str) -> dict:
    """Look around once, at servers that play the well-known ports."""
    places = {int(port): there for port, there in json.loads(words).items()}
    client = _client(Moved(places))
    started_s = time.perf_counter()
    await client.models.detect()
    lmchat_s = time.perf_counter() - started_s
    await client.aclose()
    return {"lmchat_s": lmchat_s}


if __name__ == "__main__":
    work = {
        "httpx": read_httpx,
        "lmchat": read_lmchat,
        "models": look,
        "detect": detect,
    }[sys.argv[1]]
    print(json.dumps(asyncio.run(work(sys.argv[2]))))
