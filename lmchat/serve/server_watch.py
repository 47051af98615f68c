"""The servers that are there now, which are looked for again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lmchat.errors import LMChatError
from lmchat.serve.model_routes import ModelRoutes
from lmchat.servers.discovery.probe_result import ProbeResult

PAUSE_S = 3.0  # between two looks; one may take 2 s, and changes are noticed within 5 s
_log = logging.getLogger(__name__)

FindServers = Callable[[], Awaitable[tuple[ProbeResult, ...]]]


class ServerWatch:
    """Keeper of the routes to all models, which follow servers that appear and go."""

    def __init__(
        self,
        find: FindServers,
        read_details: Callable[[ProbeResult], Awaitable[object]],
        on_change: Callable[[ModelRoutes], None],
    ) -> None:
        """Create it; nothing is looked for yet.

        `find` returns all servers. If they or their models have changed, `read_details` asks each
        server for what `find` does not tell, such as its slots. `on_change` gets the routes after
        changes that `run` has found, not after those of a call of `look` by others.
        """
        self._find = find
        self._read_details = read_details
        self._on_change = on_change
        self.routes = ModelRoutes()

    async def look(self) -> bool:
        """Look for servers once; return whether they or their models have changed.

        Raises `LMChatError` if they cannot be looked for.
        """
        routes = ModelRoutes.of(await self._find())
        has_changed = routes.endpoints_by_alias != self.routes.endpoints_by_alias
        self.routes = routes
        if has_changed:
            reads = map(self._read_details, routes.usable)
            await asyncio.gather(*reads, return_exceptions=True)
        return has_changed

    async def run(self) -> None:
        """Look for servers until this is cancelled; the routes stay if a look fails."""
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                if await self.look():
                    self._on_change(self.routes)
            except LMChatError as error:
                _log.warning("the servers could not be looked for: %s", error.kind)
