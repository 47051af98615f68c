"""A stream of events that is nice to have, read while something else is waited for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx

from lmchat.proxy.body import pieces_of
from lmchat.proxy.connections import request_headers
from lmchat.proxy.json_values import NotJsonError, decode, mapping
from lmchat.proxy.sse import MalformedStreamError, SseReader
from lmchat.proxy.unreachable import TRANSPORT_ERRORS

PAUSE_S = 0.1
"""Between two shares of which the second is not the higher."""
_log = logging.getLogger(__name__)


async def events_at(
    client_of: Callable[[], Awaitable[httpx.AsyncClient]], url: str, key: str | None
) -> AsyncGenerator[dict[str, Any]]:
    """Yield the JSON objects of an event stream; ends without a word where there is none, or no more."""
    client = await client_of()
    headers = request_headers(key) | {"Accept": "text/event-stream"}
    request = client.build_request("GET", url, headers=headers, timeout=httpx.Timeout(5.0, read=None))
    reader = SseReader()
    try:
        response = await client.send(request, stream=True)
        try:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return
            async for piece in pieces_of(response):
                for event in reader.feed(piece):
                    yield _object(event.data)
        finally:
            await response.aclose()
    except (*TRANSPORT_ERRORS, MalformedStreamError):
        return


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something while the block runs; it ends with the block, and its failure is not the block's."""
    task = asyncio.create_task(work, name="beside")
    try:
        yield
    finally:
        task.cancel()
        (failure,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(failure, Exception):
            _log.info("beside: %s", type(failure).__name__)


def seldom(tell: Callable[[float], None]) -> Callable[[float], None]:
    """Return a way to tell a share that a flood cannot fill a terminal with.

    A percent that is higher than all before is told at once, so a hundred times at most; another one at
    most ten times a second.
    """
    highest = last = -1
    told_s = 0.0

    def tell_seldom(fraction: float) -> None:
        nonlocal highest, last, told_s
        percent, now_s = int(fraction * 100), time.monotonic()
        if percent > highest or (percent != last and now_s >= told_s + PAUSE_S):
            highest, last, told_s = max(highest, percent), percent, now_s
            tell(fraction)

    return tell_seldom


def _object(data: bytes) -> dict[str, Any]:
    try:
        return mapping(decode(data))
    except NotJsonError:
        return {}
