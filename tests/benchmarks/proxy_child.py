"""One reader of the paced server in a process of its own; prints what it measured as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import aclosing
from functools import partial

import httpx

from lmchat.config.settings import Settings
from lmchat.domain.event import TextDelta
from lmchat.domain.message import Role, text_message
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint, Product
from lmchat.proxy.client import ProxyClient


def _client() -> ProxyClient:
    return ProxyClient(Settings(), key_for=lambda _: None)


async def read_httpx(url: str, *, is_timed: bool = True) -> dict:
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json={}) as response,
    ):
        came_s, cpu_s = [], time.process_time()
        async for chunk in response.aiter_raw():
            if is_timed:
                came_s += [time.perf_counter()] * chunk.count(b'"content"')
    return {"came_s": came_s, "cpu_s": time.process_time() - cpu_s}


async def read_lmchat(url: str) -> dict:
    request = ChatRequest(
        endpoint=Endpoint.parse(url),
        product=Product.OPENAI_COMPATIBLE,
        model="bench",
        messages=(text_message(Role.USER, "go"),),
    )
    came_s, cpu_s = [], time.process_time()
    client = _client()
    async with aclosing(client.stream(request)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                if not came_s:
                    cpu_s = time.process_time()
                came_s += [time.perf_counter()] * event.pieces
    cpu_s = time.process_time() - cpu_s
    await client.aclose()
    return {"cpu_s": cpu_s, "came_s": came_s}


async def look(url: str) -> dict:
    client, endpoint, found = _client(), Endpoint.parse(url), {}
    await client.check(endpoint)
    for name, ask in (
        ("miss", lambda: client.models(endpoint, is_refresh=True)),
        ("hit", lambda: client.models(endpoint)),
        ("health", lambda: client.check(endpoint)),
    ):
        began_s = time.perf_counter()
        await ask()
        found[name] = time.perf_counter() - began_s
    await client.aclose()
    async with httpx.AsyncClient(timeout=30, trust_env=False) as raw:
        for _ in range(2):  # the first makes the connection
            began_s = time.perf_counter()
            await raw.get(f"{url}/v1/models")
            found["raw"] = time.perf_counter() - began_s
    return found


if __name__ == "__main__":
    work = {
        "raw": partial(read_httpx, is_timed=False),
        "httpx": read_httpx,
        "lmchat": read_lmchat,
        "models": look,
    }[sys.argv[1]]
    print(json.dumps(asyncio.run(work(sys.argv[2]))))
