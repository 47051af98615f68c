"""Search for servers, and choice for the next request, without asking a user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import State
from lmchat.core.servers.discovery.choose import (
    Choice,
    Named,
    choose,
    choose_on_server,
    choose_without_asking,
    named_at,
    no_model_error,
    no_server_error,
    require_model,
    unlisted_model,
)
from lmchat.core.servers.discovery.status import ServerStatus, usable_of
from lmchat.core.servers.endpoint import Endpoint, configured_endpoints, configured_names
from lmchat.core.servers.model import ModelInfo, model_meant, unknown_model_error
from lmchat.core.servers.stream.timeouts import first_token_limit
from lmchat.core.servers.target import Target

_CHECK_EVERY_S = 0.5  # while a server loads its model


class ServerSource(Protocol):
    """All model servers; every coroutine may raise `LMChatError`."""

    async def detect(
        self, *, named: Sequence[Endpoint] = (), is_counted: bool = True
    ) -> tuple[ServerStatus, ...]:
        """Ask all usual addresses and the `named` ones at once; best result first.

        Without `is_counted`, `cache_misses` does not count it.
        """

    async def check(self, endpoint: Endpoint, *, key: str = "") -> ServerStatus:
        """Send `key` with this request only; "" is the known one. Silence is no error."""


class ServerFinder(Struct, eq=False):
    """Servers of a run, and server and model of its next request.

    Every coroutine may raise the error that says why none can be used.
    """

    _source: ServerSource
    _settings: Settings
    _state: Callable[[], State]  # that of now, which the screen changes
    servers: tuple[ServerStatus, ...] = ()
    """Those of the last look, usable or not, best first."""
    _looks: int = 0  # that have ended
    _added: tuple[Endpoint, ...] = ()  # to `configured_endpoints`
    # requests at the same time share one look
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self, *, is_counted: bool = True) -> tuple[ServerStatus, ...]:
        if not self._settings.endpoint:
            return await self.search(is_counted=is_counted)
        (endpoint,) = configured_endpoints(self._settings)
        self.servers = (await self._source.check(endpoint),)
        return self.servers

    async def search(self, *, is_counted: bool = True) -> tuple[ServerStatus, ...]:
        named = (*self._added, *configured_endpoints(self._settings))
        names = configured_names(self._settings)
        self.servers = tuple(
            replace(server, own_name=names.get(server.endpoint.origin, ""))
            for server in await self._source.detect(named=named, is_counted=is_counted)
        )
        return self.servers

    def add(self, endpoint: Endpoint) -> None:
        searched = [server.endpoint for server in self.servers]
        if endpoint not in (*self._added, *searched, *configured_endpoints(self._settings)):
            self._added = (endpoint, *self._added)

    def forget(self) -> None:
        """Look again before the next request: the last one has failed."""
        self.servers = ()

    @property
    def _is_named(self) -> bool:
        """Whether no other server is used, even if the one of the settings does not answer."""
        return bool(self._settings.endpoint)

    def choice(self, model: str = "", *, among: Sequence[ServerStatus] | None = None) -> Choice:
        return choose(
            self.servers if among is None else among,
            model=model or self._settings.model,
            state=self._state(),
            is_named=self._is_named,
        )

    def choice_on(self, server: ServerStatus, model: str = "") -> Choice:
        return choose_on_server(server, model=model or self._settings.model, state=self._state())

    def model_at(self, server: ServerStatus, name: str) -> ModelInfo:
        """Return a model that is not listed, too: the server says what is wrong.

        Raises `WrongUse` for a name that must not be sent.
        """
        named, model = named_at(server, name)
        if named is Named.UNCLEAR:
            raise unknown_model_error(name, server.models)
        return model

    def unlisted(self, name: str) -> ModelInfo | None:
        return unlisted_model(name, self.servers, self._state(), is_named=self._is_named)

    async def usable(self) -> list[ServerStatus]:
        servers = await self.look()
        usable = usable_of(servers)
        if not usable:
            raise no_server_error(servers)
        return usable

    async def models(self) -> list[ModelInfo]:
        return [model for server in await self.usable() for model in server.models]

    async def models_named(
        self, names: Sequence[str], *, used: Endpoint | None = None, is_exact: bool = False
    ) -> list[ModelInfo]:
        """Return the models that names mean (`model_meant`), on any server; raise `WrongUse`.

        A name that no server lists means a model of one that may have it all the same.
        """
        servers = await self.look()
        listed = [model for server in usable_of(servers) for model in server.models]
        models: list[ModelInfo] = []
        for name in names:
            try:
                models.append(model_meant(name, listed, used=used, is_exact=is_exact))
            except WrongUse:
                model = self.unlisted(name)
                if model is None:
                    if not usable_of(servers):
                        raise no_server_error(servers) from None
                    raise
                models.append(model)
        return models

    def beside(self, model: ModelInfo) -> Callable[[str], ModelInfo]:
        """Return a function that finds models of the same server by name, listed or not.

        It raises `WrongUse` if the server had no such model, or it cannot chat.
        """
        server = next((one for one in self.servers if one.endpoint == model.endpoint), None)
        if server is None:  # a request has failed since
            raise WrongUse(
                f"No server of the last look has {safe_line(model.model_id)}.",
                next_step="Ask for its models again.",
            )

        def find(name: str) -> ModelInfo:
            target = self.choice_on(server, name).target
            if target is None or target.model is None:
                return model_meant(name, server.models, is_exact=True)
            return target.model

        return find

    async def ready_model(
        self, model: str = "", *, note: Callable[[str], None] = lambda _: None
    ) -> ModelInfo:
        """Return the model of a request, once its server has loaded one.

        The servers are those of the last look, if one of them has the model. `note` is called if
        the server loads its first model, whose name it does not tell yet.

        Raises `NoServerFound`; `ServerRejected`; `ServerUnavailable` if the model was not loaded
        within the limit for the first token; `RequestInvalid` for no model, or several equally
        likely ones; `WrongUse` for a model that a server which the user has not named lacks, or
        that cannot chat.
        """
        name = model or self._settings.model
        looks = self._looks
        async with first_token_limit(self._settings.timeouts.first_token_s):
            target = None
            async with self._lock:
                with suppress(LMChatError):  # one may have come since the last look
                    target = self._target(name)
                if target is None and looks == self._looks:  # no other request has just looked
                    await self.look()
                    self._looks += 1
            if target is None:
                target = self._target(name)
            if target.model is None:
                note(f"{target.server_name} is loading its model …")
            while target.model is None:
                await asyncio.sleep(_CHECK_EVERY_S)
                self.servers = (await self._source.check(target.endpoint),)
                target = self._target(name)
            return target.model

    def _target(self, name: str) -> Target:
        """Raise why none can be used. The model is None while the server loads its first one."""
        choice = choose_without_asking(self.servers, model=name, state=self._state())
        if name and not (choice.server and choice.server.has_named_address):
            require_model(name, choice.server, self.servers)
        if choice.target is None or not choice.is_complete:
            raise no_model_error(choice.server)
        return choice.target
