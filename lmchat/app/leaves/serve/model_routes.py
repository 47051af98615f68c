"""Names of models, and the server to which each leads; they follow servers that come and go."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct, field

from lmchat.base.errors import EndpointNotAllowed, LMChatError
from lmchat.core.config.state import State
from lmchat.core.servers.discovery.choose import no_server_error, unlisted_model
from lmchat.core.servers.discovery.status import Next, ServerStatus, usable_of
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import ModelInfo, find_model, unknown_model_error

PAUSE_S = 3.0  # between two searches of up to 2 s: a change is seen in 5 s
_logger = logging.getLogger(__name__)


class ModelRoutes(Struct, frozen=True):
    """The models of all servers by name, from the last search.

    A name leads to the first server that has it. `NAME@PRODUCT` leads to the server of a product,
    `NAME@PRODUCT:PORT` to one of several, `NAME@PRODUCT:HOST:PORT` to one of those with the same
    port.
    """

    servers: tuple[ServerStatus, ...] = ()  # usable or not, best first
    aliases: Mapping[str, ModelInfo] = field(default_factory=dict)
    """All models of usable servers, by names with `@`; the best server's first.

    Remote models are behind all others.
    """

    @classmethod
    def of(cls, servers: Sequence[ServerStatus]) -> ModelRoutes:
        usable = usable_of(servers)
        product_counts = Counter(server.product for server in usable)
        port_counts = Counter((server.product, server.endpoint.port) for server in usable)
        aliases: dict[str, ModelInfo] = {}
        for server in usable:
            server_name: str = server.product
            if port_counts[server.product, server.endpoint.port] > 1:
                address = server.endpoint.url.removeprefix(f"{server.endpoint.scheme}://")
                server_name += f":{address}"  # with the path: servers may be behind one proxy
            elif product_counts[server.product] > 1:
                server_name += f":{server.endpoint.port}"
            for model in server.models:
                aliases.setdefault(f"{model.model_id}@{server_name}", model)
        remote_last = sorted(aliases.items(), key=lambda item: item[1].is_remote)
        return cls(tuple(servers), dict(remote_last))

    def listed(self) -> dict[str, ModelInfo]:
        """If several servers have a name, it is also listed with `@` for each."""
        counts = Counter(model.model_id for model in self.aliases.values())
        models: dict[str, ModelInfo] = {}
        for alias, model in self.aliases.items():
            models.setdefault(model.model_id, model)
            if counts[model.model_id] > 1:
                models[alias] = model
        return models

    def at(self, url: str) -> tuple[ServerStatus, ...]:
        """Return the server at an address, or all.

        Raises `EndpointNotAllowed` for an address where no server was found or configured: a
        request must not make lmchat connect to other programs.
        """
        if not url:
            return self.servers
        address = Endpoint.parse(url)
        servers = tuple(found for found in self.servers if found.endpoint.netloc == address.netloc)
        if not servers:
            raise EndpointNotAllowed(
                "Endpoint not allowed: no server was found there; "
                "name it under [[endpoints]] in config.toml."
                if address.is_loopback
                else "Endpoint not allowed: Endpoint must be localhost, "
                "or be named under [[endpoints]] and allowed_hosts in config.toml."
            )
        return servers

    def server(self, url: str = "") -> ServerStatus:
        """Raise the error that says why it cannot be used; without an address, return the best."""
        servers = self.at(url)
        if usable := usable_of(servers):  # the best one first
            return usable[0]
        raise no_server_error(servers)

    def find(self, name: str) -> ModelInfo:
        """Raises `WrongUse` if no server has the model, or says why none can be used."""
        # a server that the user has named, and that lists no models, may have it
        silent = [server for server in self.servers if server.action is Next.NAME]
        unlisted = unlisted_model(name, silent, State())
        if unlisted is None:
            self.server()  # raises the error to show
        models = tuple(self.aliases.values())
        # a model whose own name has an `@` comes before an alias
        model = find_model(name, models) or self.aliases.get(name) or unlisted
        if model is None:
            raise unknown_model_error(name, models)
        return model


class ServerWatch(Struct):
    """Owner of the routes, which looks for servers again and again."""

    find: Callable[[], Awaitable[tuple[ServerStatus, ...]]]
    on_change: Callable[[ModelRoutes], None]  # gets the routes after changes that `run` has found
    routes: ModelRoutes = field(default_factory=ModelRoutes)

    async def look(self) -> bool:
        """Return whether names or what they lead to have changed; raise `LMChatError`."""
        before = {name: model.endpoint for name, model in self.routes.aliases.items()}
        self.routes = ModelRoutes.of(await self.find())
        return before != {name: model.endpoint for name, model in self.routes.aliases.items()}

    async def run(self) -> None:
        """If a search fails, the routes stay."""
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                if await self.look():
                    self.on_change(self.routes)
            except LMChatError as error:
                _logger.warning("the servers could not be looked for: %s", error.kind)
