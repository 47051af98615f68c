"""One first look around in a process of its own, at servers that play the well-known ports; prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import httpx

from lmchat.config.settings import Settings
from lmchat.proxy.client import ProxyClient
from lmchat.proxy.servers import SERVERS

PORTS = tuple(port for server in SERVERS for port in server.ports)
PROBE_S = 1.8


class Moved(httpx.AsyncBaseTransport):
    """Leads the well-known ports elsewhere; where nobody stands, to a port of this machine that refuses."""

    def __init__(self, places: dict[int, int]) -> None:
        self._places = places
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(port=self._places.get(request.url.port or 80, 1))
        moved = httpx.Request(request.method, url, headers=request.headers, extensions=request.extensions)
        return await self._inner.handle_async_request(moved)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def look(places: dict[int, int]) -> float:
    client = ProxyClient(Settings(), key_for=lambda _: None, transport=Moved(places))
    began_s = time.perf_counter()
    await client.detect()
    took_s = time.perf_counter() - began_s
    await client.aclose()
    return took_s


async def ask_raw(places: dict[int, int]) -> float:
    async with httpx.AsyncClient(transport=Moved(places), timeout=PROBE_S) as client:
        began_s = time.perf_counter()
        asked = (client.get(f"http://127.0.0.1:{port}/v1/models") for port in PORTS)
        await asyncio.gather(*asked, return_exceptions=True)
        return time.perf_counter() - began_s


if __name__ == "__main__":
    given = {int(port): there for port, there in json.loads(sys.argv[1]).items()}
    print(json.dumps({"lmchat_s": asyncio.run(look(given)), "httpx_s": asyncio.run(ask_raw(given))}))
