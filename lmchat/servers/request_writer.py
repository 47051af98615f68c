"""Writer of chat requests, with what is known of each model and its server.

What is known are the facts of the cached list of models, and the dialect that was accepted last.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.json_values import encode, utf8_safe
from lmchat.servers.model import ModelInfo
from lmchat.servers.model_cache import ModelCache
from lmchat.servers.products.product import product_named, sent_thoughts_of
from lmchat.servers.products.registry import server_of
from lmchat.servers.products.request_body import body_of, tool_fields
from lmchat.servers.products.request_format import Dialect
from lmchat.servers.request import ChatRequest, Sampling
from lmchat.sessions.message import SentThoughts

_PROMPT_FIELDS = (
    "model",
    "messages",
    "tools",
    "response_format",
    "reasoning_effort",
    "chat_template_kwargs",
)
"""Fields of a request that its prompt depends on."""

_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens", "n_predict")
"""Names of the limit of an answer, all of which llama.cpp takes."""


class RequestWriter:
    """Writer of the bodies of requests; remembers the dialect of each model."""

    def __init__(self, cache: ModelCache) -> None:
        self._cache = cache
        self._dialects: dict[tuple[Endpoint, str], Dialect] = {}  # by address and model
        # Address, model and text of each note that was returned before.
        self._posted_notes: set[tuple[Endpoint, str, str]] = set()

    def model(self, request: ChatRequest) -> ModelInfo | None:
        """Return the model of a request as its server last listed it; None if it is not listed."""
        return self._cache.model(request.endpoint, request.model)

    def dialect(self, request: ChatRequest) -> Dialect:
        """Return the dialect that the model took last, or else that of the product."""
        learnt = self._dialects.get((request.endpoint, request.model))
        return learnt or server_of(request.product).dialect

    def keep_dialect(self, request: ChatRequest, dialect: Dialect) -> None:
        """Keep the dialect in which a request succeeded for the next request to its model.

        The JSON modes that did not fit the schema of this request may be tried again.
        """
        dialect = replace(dialect, unfit_modes=frozenset())
        self._dialects[request.endpoint, request.model] = dialect

    def extra_fields(self, request: ChatRequest) -> dict[str, Any]:
        """Return the fields that the product adds to a request, and those that offer tools."""
        server = server_of(request.product)
        fields = server.request_fields(self._sampling(request), self.model(request))
        safe_fields: dict[str, Any] = utf8_safe(fields)
        return safe_fields | tool_fields(request)

    def sampling_options(self, request: ChatRequest) -> dict[str, object]:
        """Return the sampling options that the body of a request has, by name."""
        server = server_of(request.product)
        return server.sent_options(self._sampling(request), self.model(request))

    def _sampling(self, request: ChatRequest) -> Sampling:
        """Return the sampling of a request, without a drawn seed if its model has refused one.

        The dialect knows a refused field by its value, and each request draws another one: it
        would be sent and refused each time.
        """
        refused_fields = {name for name, _ in self.dialect(request).dropped}
        seed_field = product_named(request.product).sampling_fields.get("seed")
        if request.has_drawn_seed and seed_field in refused_fields:
            return replace(request.sampling, seed=None)
        return request.sampling

    def sent_thoughts(self, request: ChatRequest) -> SentThoughts:
        """Return which thoughts of earlier answers are sent back to the model of a request."""
        return sent_thoughts_of(request.product, self.model(request))

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the body of a request for its first attempt, in the dialect accepted last."""
        extra_fields = self.extra_fields(request)
        return body_of(request, extra_fields, self.dialect(request), self.sent_thoughts(request))

    def encoded_body(self, request: ChatRequest) -> bytes:
        return encode(self.body(request))

    def prompt_body(self, request: ChatRequest) -> dict[str, Any]:
        """Return only the fields of a body on which the prompt depends, to count its tokens."""
        body = self.body(request)
        return {name: body[name] for name in _PROMPT_FIELDS if name in body}

    def read_ahead_body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the body that makes llama.cpp read a prompt and generate as little as it can.

        That is one token, although the limit is 0 (R-41).
        """
        body = self.body(request)
        for name in _LIMIT_FIELDS:
            body.pop(name, None)
        return body | {"max_tokens": 0}

    def take_new_notes(self, request: ChatRequest) -> list[str]:
        """Return a note for each option of the request that is not sent, with the reason.

        A note that was returned before for this model is left out.
        """
        new_notes: list[str] = []
        for note in server_of(request.product).unsent_notes(request.sampling, self.model(request)):
            model_note = (request.endpoint, request.model, note)
            if model_note not in self._posted_notes:
                self._posted_notes.add(model_note)
                new_notes.append(note)
        return new_notes
