"""Answers that llama.cpp keeps under an id, so that they can be fetched again (R-42).

If the header `X-Conversation-Id` of a request names an id, the server continues its answer after
the connection is closed, so the answer has to be dropped to be stopped. Until some minutes after
its end, its bytes can be read again, from any of the newest 4 MiB on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlencode

import httpx

from lmchat.errors import LMChatError
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.api_keys import KeySource
from lmchat.servers.http.connections import Connections

ID_HEADER = "X-Conversation-Id"
LOOKUP_S = 2.0  # longest wait for the reply whether an answer is kept
DROP_S = 1.0  # longest wait for the reply to an order to drop an answer
# The server may read the request that asks for an answer only after the order to drop it.
_DROP_AGAIN_S = 0.5


def kept_answer_url(endpoint: Endpoint, replay_id: str) -> str:
    """Return the URL of a kept answer."""
    return f"{endpoint.base_url}/stream?{urlencode({'conv_id': replay_id})}"


class KeptAnswers:
    """Orders to stop answers, which their servers would otherwise continue."""

    def __init__(self, connections: Connections, keys: KeySource) -> None:
        self._connections = connections
        self._keys = keys
        self._dropping: set[asyncio.Task[None]] = set()
        self.are_left = False  # whether answers are not stopped any more

    def drop_soon(self, endpoint: Endpoint, replay_id: str, *, has_begun: bool) -> None:
        """Begin to order a server to stop and forget an answer; do not wait for it.

        `has_begun` is whether its response has begun; if not, the order is sent a second time a
        little later. All errors are ignored: the server may be gone, or may not know the answer.
        """
        if self.are_left:
            return
        dropping = asyncio.create_task(
            self._drop(endpoint, replay_id, [0.0] if has_begun else [0.0, _DROP_AGAIN_S]),
            name="drop answer",
        )
        self._dropping.add(dropping)
        dropping.add_done_callback(self._dropping.discard)

    async def _drop(self, endpoint: Endpoint, replay_id: str, waits_s: Sequence[float]) -> None:
        url = kept_answer_url(endpoint, replay_id)
        key = self._keys.known_key(endpoint)
        for wait_s in waits_s:
            await asyncio.sleep(wait_s)
            with suppress(LMChatError):
                timeout = httpx.Timeout(DROP_S)
                await self._connections.ask(endpoint, "DELETE", url, key=key, timeout=timeout)

    async def wait(self) -> None:
        if self._dropping:
            await asyncio.wait(self._dropping, timeout=DROP_S)
