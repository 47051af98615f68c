"""How requests are put to each server: fields, the dialect that was learnt, and what is told of it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint, ModelInfo
from lmchat.proxy.cache import ModelCache
from lmchat.proxy.servers import server_of
from lmchat.proxy.wire import Dialect, body_of, encode_request

_OF_THE_PROMPT = ("model", "messages", "response_format", "reasoning_effort", "chat_template_kwargs")


class Speech:
    """Remembers for this run what each model of each server has refused, and what the user was told."""

    def __init__(self, cache: ModelCache) -> None:
        self._cache = cache
        self._dialects: dict[tuple[Endpoint, str], Dialect] = {}
        self._told: set[tuple[Endpoint, str, str]] = set()

    def dialect(self, request: ChatRequest) -> Dialect:
        """Return what the server is known to want."""
        learnt = self._dialects.get((request.endpoint, request.model))
        return learnt or server_of(request.product).dialect

    def learn(self, request: ChatRequest, dialect: Dialect) -> None:
        """Keep the dialect in which a request was answered, without what was about its schema alone."""
        self._dialects[request.endpoint, request.model] = replace(dialect, unfit_modes=frozenset())

    def fields(self, request: ChatRequest) -> dict[str, Any]:
        """Return what goes to this product beyond the common fields."""
        return server_of(request.product).fields(request.sampling, self._model(request))

    def body(self, request: ChatRequest) -> bytes:
        """Return the body of a request."""
        return encode_request(request, self.fields(request), self.dialect(request))

    def prompt(self, request: ChatRequest) -> dict[str, Any]:
        """Return what of a request makes its prompt."""
        body = body_of(request, self.fields(request), self.dialect(request))
        return {name: value for name, value in body.items() if name in _OF_THE_PROMPT}

    def new_notes(self, request: ChatRequest) -> tuple[str, ...]:
        """Say what of the settings is not sent, where that was not yet said of this model."""
        told = []
        for note in server_of(request.product).left_out(request.sampling, self._model(request)):
            about = (request.endpoint, request.model, note)
            if about not in self._told:
                self._told.add(about)
                told.append(note)
        return tuple(told)

    def _model(self, request: ChatRequest) -> ModelInfo | None:
        return self._cache.model(request.endpoint, request.model)
