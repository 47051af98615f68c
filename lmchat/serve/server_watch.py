"""The servers that are there now, which are looked for again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lmchat.domain.server import Candidate
from lmchat.errors import LMChatError
from lmchat.serve.model_routes import ModelRoutes

# Pause between two looks. A look may take 2 s, and a change must be noticed within 5 s.
PAUSE_S = 2.5
_log = logging.getLogger(__name__)

FindServers = Callable[[], Awaitable[tuple[Candidate, ...]]]


class ServerWatch:
    """Keeper of the routes to all models, which follow servers that appear and go."""

    def __init__(
        self,
        find: FindServers,
        read_details: Callable[[Candidate], Awaitable[object]],
        on_change: Callable[[ModelRoutes], None],
    ) -> None:
        """Create it; nothing is looked for yet.

        `find` returns all servers. `read_details` asks a new server for what `find` does not tell,
        such as its slots. `on_change` gets the routes if the servers or their models have changed.
        """
        self._find = find
        self._read_details = read_details
        self._on_change = on_change
        self.routes = ModelRoutes()

    async def look(self) -> None:
        """Look for servers once; raises `LMChatError` if that cannot be done."""
        routes = ModelRoutes.of(await self._find())
        previous = self.routes
        self.routes = routes
        if routes.aliases.keys() == previous.aliases.keys():
            return
        known = {candidate.endpoint for candidate in previous.usable}
        new = [candidate for candidate in routes.usable if candidate.endpoint not in known]
        await asyncio.gather(*map(self._read_details, new), return_exceptions=True)
        self._on_change(routes)

    async def run(self) -> None:
        """Look for servers until this is cancelled; the routes stay if a look fails."""
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                await self.look()
            except LMChatError as error:
                _log.warning("the servers could not be looked for: %s", error.kind)
