"""What is asked of a server."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from lmchat.domain.message import ChatMessage
from lmchat.domain.server import Endpoint, Product


class Sampling(Struct, frozen=True, kw_only=True):
    """How to choose words; what is None is not sent."""

    temperature: float | None = None
    """0 to 2."""
    top_p: float | None = None
    """0 to 1."""
    max_tokens: int | None = None
    """Longest answer."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer."""
    seed: int | None = None
    """For answers that repeat, where the server can."""
    reasoning_effort: str = ""
    """How much to think: `none` to `max`, where server and model can."""
    keep_loaded_s: int | None = None
    """How long the model stays in memory unused, where a request can say so."""


class AnyText(Struct, frozen=True, kw_only=True):
    """An answer in words, of any form."""


class AnyObject(Struct, frozen=True, kw_only=True):
    """An answer that is one JSON object, of any form."""


class FittingValue(Struct, frozen=True, kw_only=True):
    """An answer that is one JSON value, and fits a schema."""

    schema: dict[str, Any]
    name: str = "answer"
    """What servers call it; letters, digits, `_` and `-` alone reach them."""


Output = AnyText | AnyObject | FittingValue
"""What form an answer is to have; servers are asked for it, and may give another all the same."""


class ChatRequest(Struct, frozen=True, kw_only=True):
    """One turn for the proxy-client layer; checked there before anything is sent."""

    endpoint: Endpoint
    product: Product
    """What is known to stand there (R-12)."""
    model: str
    messages: tuple[ChatMessage, ...]
    """Oldest first; reasoning is sent of the last one alone, where it is an answer to be gone on with."""
    sampling: Sampling = field(default_factory=Sampling)
    output: Output = field(default_factory=AnyText)


class HowToLoad(Struct, frozen=True, kw_only=True):
    """How a model is to be loaded; what is None, the server decides."""

    context: int | None = None
    keep_loaded_s: int | None = None
