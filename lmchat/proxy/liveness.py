"""Looks whether a server is still there while it says nothing: who waits learns within 5 s that it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.request import getproxies

from lmchat.domain.event import LifeSign, StreamStalled
from lmchat.domain.server import Endpoint
from lmchat.proxy.nearness import is_local, is_near
from lmchat.proxy.patience import Patience

LOOK_AFTER_S = 3.0
"""Silence after which it is looked for the first time, and from one look to the next."""
LOOK_S = 2.0
"""What a look may take: whoever reads a long prompt answers other questions meanwhile."""
AGAIN_S = 1.0
"""From one look to the next while it does not answer."""

IsThere = Callable[[], Awaitable[bool]]


@asynccontextmanager
async def watched(
    patience: Patience, is_there: IsThere, tell: Callable[[LifeSign | StreamStalled], None]
) -> AsyncGenerator[None, None]:
    """Look at the server beside the block, whenever nothing comes for a while."""
    task = asyncio.create_task(_watch(patience, is_there, tell), name="liveness")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(
    patience: Patience, is_there: IsThere, tell: Callable[[LifeSign | StreamStalled], None]
) -> None:
    loop, gone_since_s = asyncio.get_running_loop(), None
    pause_s = LOOK_AFTER_S
    while True:
        await asyncio.sleep(pause_s)
        pause_s = LOOK_AFTER_S - patience.silent_s
        if pause_s > 0 and gone_since_s is None:
            continue
        looked_s = loop.time()
        if pause_s > 0 or await _answers(is_there):
            if gone_since_s is not None:
                tell(LifeSign())
            gone_since_s, pause_s = None, LOOK_AFTER_S
        elif patience.silent_s >= LOOK_AFTER_S:
            gone_since_s = looked_s if gone_since_s is None else gone_since_s
            tell(StreamStalled(silent_s=patience.silent_s))
            patience.has_no_answer_since(gone_since_s)
            pause_s = AGAIN_S


async def _answers(is_there: IsThere) -> bool:
    try:
        async with asyncio.timeout(LOOK_S):
            return await is_there()
    except TimeoutError:
        return False


def can_knock(endpoint: Endpoint) -> bool:
    """Whether its machine can be asked directly: it is near, and no proxy stands between."""
    return is_local(endpoint) or (is_near(endpoint) and not getproxies())


async def knock(endpoint: Endpoint) -> bool:
    """Whether the machine answers: connect and say nothing, to who may not be asked while it works (R-29)."""
    try:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except ConnectionRefusedError:
        return True  # it takes no new connections; those that it has may go on
    except OSError:
        return False
    writer.close()
    return True
