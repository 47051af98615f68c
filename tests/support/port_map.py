"""A transport that lets scripted servers stand at well-known ports, without taking these ports."""

from __future__ import annotations

import httpx

from tests.support.scripted_server import ScriptedServer


class PortMap(httpx.AsyncBaseTransport):
    """Sends what is meant for a (host, port) to a scripted server; refuses everything else."""

    def __init__(self, places: dict[tuple[str, int], ScriptedServer | Exception]) -> None:
        self.places = places
        self.nobody: Exception = httpx.ConnectError("All connection attempts failed")
        """What a place says where nobody stands."""
        self.asked: list[tuple[str, int, str]] = []
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, port = request.url.host, request.url.port or 80
        self.asked.append((host, port, request.url.path))
        target = self.places.get((host, port), self.nobody)
        if isinstance(target, Exception):
            raise target
        url = request.url.copy_with(host=target.host, port=target.port)
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                url,
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )

    def paths(self, port: int, host: str = "127.0.0.1") -> list[str]:
        """Return what was asked at a port."""
        return [path for at, number, path in self.asked if (at, number) == (host, port)]

    async def aclose(self) -> None:
        await self._inner.aclose()
