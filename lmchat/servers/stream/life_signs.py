"""Signs of life of a server, which are asked for while a request waits for its answer."""

from __future__ import annotations

import httpx

from lmchat.errors import LMChatError
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.connections import Connections, Reply, RequestTrace
from lmchat.servers.products.base import Server
from lmchat.servers.stream.timeouts import can_check_alive, is_machine_alive

HEALTH_S = 4.0  # timeout for the health of a server that loads: a hang is reported within 5 s


async def ask_health(
    connections: Connections, server: Server, endpoint: Endpoint, *, key: str, health_s: float
) -> Reply:
    """GET the health path of the product, over another connection than that of the request.

    `health_s` is the timeout of the settings. Raises `ServerUnavailable`.
    """
    url = f"{endpoint.url}{server.health_path}"
    timeout = httpx.Timeout(min(health_s, HEALTH_S))
    return await connections.ask(endpoint, "GET", url, key=key, timeout=timeout)


async def is_alive(
    connections: Connections,
    server: Server,
    endpoint: Endpoint,
    trace: RequestTrace,
    *,
    key: str,
    health_s: float,
) -> bool:
    """Whether the server, or at least its machine, answers while a request waits.

    `trace` is that of the request: while the request itself has no connection yet, the result is
    False. Otherwise the health path is asked. Without such a path, lmchat connects to the machine
    to see whether it answers. If neither can be done, the result is True.
    """
    if trace.is_connecting:
        return False
    if not server.health_path:
        # On this machine, connecting succeeds even if the server hangs, so it tells nothing.
        if endpoint.is_loopback or not can_check_alive(endpoint):
            return True
        return await is_machine_alive(endpoint)
    try:
        await ask_health(connections, server, endpoint, key=key, health_s=health_s)
    except LMChatError as error:
        # Any other error comes from a program that has answered.
        return error.kind not in ("offline", "timeout")
    return True
