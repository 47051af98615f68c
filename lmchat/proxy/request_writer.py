"""Writer of chat requests, with what is known of each model and its server."""

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
    """Writer of the bodies of requests; remembers the dialect of each model."""

    def __init__(self, cache: ModelCache) -> None:
        self._cache = cache
        self._dialects: dict[tuple[Endpoint, str], Dialect] = {}  # by address and model
        self._posted_notes: set[tuple[Endpoint, str, str]] = set()  # with address and model

    def model(self, request: ChatRequest) -> ModelInfo | None:
        """Return the model of a request, as its server last listed it; None if it did not."""
        return self._cache.model(request.endpoint, request.model)

    def dialect(self, request: ChatRequest) -> Dialect:
        """Return the dialect that the model took last, or else that of the product."""
        learnt = self._dialects.get((request.endpoint, request.model))
        return learnt or server_of(request.product).dialect

    def keep_dialect(self, request: ChatRequest, dialect: Dialect) -> None:
        """Keep the dialect in which a request succeeded, for the next one to this model.

        JSON modes that do not fit the schema of this request are left out.
        """
        dialect = replace(dialect, unfit_modes=frozenset())
        self._dialects[request.endpoint, request.model] = dialect

    def extra_fields(self, request: ChatRequest) -> dict[str, Any]:
        """Return the fields that only the product has, and those of tools."""
        fields = server_of(request.product).request_fields(request.sampling, self.model(request))
        return fields | tool_fields(request)

    def sent_thoughts(self, request: ChatRequest) -> SentThoughts:
        """Return which thoughts of earlier answers the model gets back."""
        return sent_thoughts_of(request.product, self.model(request))

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the body of a request, as it is sent first."""
        extra_fields = self.extra_fields(request)
        return body_of(request, extra_fields, self.dialect(request), self.sent_thoughts(request))

    def encoded_body(self, request: ChatRequest) -> bytes:
        return encode(self.body(request))

    def prompt_body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the fields of a body that the model's prompt is made of, to count its tokens."""
        body = self.body(request)
        return {name: body[name] for name in _PROMPT_FIELDS if name in body}

    def take_new_notes(self, request: ChatRequest) -> list[str]:
        """Return why options of the request are not sent; each note only once for a model."""
        new_notes: list[str] = []
        for note in server_of(request.product).unsent_notes(request.sampling, self.model(request)):
            model_note = (request.endpoint, request.model, note)
            if model_note not in self._posted_notes:
                self._posted_notes.add(model_note)
                new_notes.append(note)
        return new_notes
