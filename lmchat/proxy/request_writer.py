"""Writer of chat requests: knows the models and the dialect of each server."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.domain.message import SentThoughts
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint, ModelInfo, sent_thoughts_of
from lmchat.proxy.dialect import Dialect
from lmchat.proxy.json_values import encode
from lmchat.proxy.model_cache import ModelCache
from lmchat.proxy.request_body import body_of, tool_fields
from lmchat.proxy.servers import server_of

_PROMPT_FIELDS = (
    *("model", "messages", "tools", "response_format", "reasoning_effort", "chat_template_kwargs"),
)
"""Fields of a request that its prompt depends on."""


class RequestWriter:
    """Writer of the bodies of requests."""

    def __init__(self, cache: ModelCache) -> None:
        self._cache = cache
        self._dialects: dict[tuple[Endpoint, str], Dialect] = {}
        self._notes: set[tuple[Endpoint, str, str]] = set()

    def model(self, request: ChatRequest) -> ModelInfo | None:
        """Return what is known of the model of a request."""
        return self._cache.model(request.endpoint, request.model)

    def dialect(self, request: ChatRequest) -> Dialect:
        known = self._dialects.get((request.endpoint, request.model))
        return known or server_of(request.product).dialect

    def learn(self, request: ChatRequest, dialect: Dialect) -> None:
        """Keep the dialect that a server took; unfit JSON modes are those of one schema."""
        dialect = replace(dialect, unfit_modes=frozenset())
        self._dialects[request.endpoint, request.model] = dialect

    def fields(self, request: ChatRequest) -> dict[str, Any]:
        """Return the fields that only the product has, and those of tools."""
        fields = server_of(request.product).request_fields(request.sampling, self.model(request))
        return fields | tool_fields(request)

    def sent_thoughts(self, request: ChatRequest) -> SentThoughts:
        return sent_thoughts_of(request.product, self.model(request))

    def body(self, request: ChatRequest) -> dict[str, Any]:
        fields = self.fields(request)
        return body_of(request, fields, self.dialect(request), self.sent_thoughts(request))

    def encoded(self, request: ChatRequest) -> bytes:
        return encode(self.body(request))

    def prompt(self, request: ChatRequest) -> dict[str, Any]:
        """Return the part of a body that its prompt depends on."""
        body = self.body(request)
        return {name: body[name] for name in _PROMPT_FIELDS if name in body}

    def new_notes(self, request: ChatRequest) -> list[str]:
        """Return what the request leaves out, each note once for a model."""
        notes: list[str] = []
        for note in server_of(request.product).unsent_notes(request.sampling, self.model(request)):
            key = (request.endpoint, request.model, note)
            if key not in self._notes:
                self._notes.add(key)
                notes.append(note)
        return notes
