"""The servers that are there now, which are looked for again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct, field

from lmchat.errors import LMChatError
from lmchat.serve.model_routes import ModelRoutes
from lmchat.servers.discovery.probe_result import ProbeResult

PAUSE_S = 3.0  # between two looks; one may take 2 s, and changes are noticed within 5 s
_log = logging.getLogger(__name__)

FindServers = Callable[[], Awaitable[tuple[ProbeResult, ...]]]


class ServerWatch(Struct):
    """Keeper of the routes to all models, which follow servers that appear and go."""

    find: FindServers  # returns all servers
    read_details: Callable[[ProbeResult], Awaitable[object]]
    """Asks a server for what `find` does not tell, such as its slots, after each change."""
    on_change: Callable[[ModelRoutes], None]  # gets the routes after changes that `run` has found
    routes: ModelRoutes = field(default_factory=ModelRoutes)

    async def look(self) -> bool:
        """Look for servers once; return whether they or their models have changed.

        Raises `LMChatError` if they cannot be looked for.
        """
        routes = ModelRoutes.of(await self.find())
        has_changed = routes.endpoints_by_alias != self.routes.endpoints_by_alias
        self.routes = routes
        if has_changed:
            reads = map(self.read_details, routes.usable)
            await asyncio.gather(*reads, return_exceptions=True)
        return has_changed

    async def run(self) -> None:
        """Look for servers until this is cancelled; the routes stay if a look fails."""
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                if await self.look():
                    self.on_change(self.routes)
            except LMChatError as error:
                _log.warning("the servers could not be looked for: %s", error.kind)
