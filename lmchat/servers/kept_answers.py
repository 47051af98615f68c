"""Answers that llama.cpp keeps under an id, so that they can be fetched again (R-42).

If the header `X-Conversation-Id` of a request names an id, the server continues its answer after
the connection is closed, so the answer has to be dropped to be stopped. Until some minutes after
its end, its bytes can be read again, from any of the newest 4 MiB on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlencode

import httpx

from lmchat.errors import LMChatError
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.connections import Connections

ID_HEADER = "X-Conversation-Id"
LOOKUP_S = 2.0  # longest wait for the reply whether an answer is kept
DROP_S = 1.0  # longest wait for the reply to an order to drop an answer
# The server may read the request that asks for an answer only after the order to drop it.
_DROP_AGAIN_S = 0.5


def kept_answer_url(endpoint: Endpoint, replay_id: str, offset: int | None = None) -> str:
    """Return the URL of a kept answer; with an `offset`, of its body from this byte on."""
    query: dict[str, str | int] = {"conv_id": replay_id}
    if offset is not None:
        query["from"] = offset
    return f"{endpoint.base_url}/stream?{urlencode(query)}"


async def drop_answer(
    connections: Connections,
    endpoint: Endpoint,
    replay_id: str,
    *,
    key: str,
    has_begun: bool,
) -> None:
    """Order a server to stop and forget an answer; ignore all errors.

    The server may be gone, or may not know the answer any more. `has_begun` is whether its response
    has begun; if not, the order is sent a second time a little later.
    """
    url = kept_answer_url(endpoint, replay_id)
    waits_s = [0.0] if has_begun else [0.0, _DROP_AGAIN_S]
    for wait_s in waits_s:
        await asyncio.sleep(wait_s)
        with suppress(LMChatError):
            await connections.ask(endpoint, "DELETE", url, key=key, timeout=httpx.Timeout(DROP_S))
