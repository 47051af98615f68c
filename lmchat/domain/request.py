"""What is asked of a server."""

from __future__ import annotations

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
    """`low`, `medium`, `high` or `none`, where the server can."""


class ChatRequest(Struct, frozen=True, kw_only=True):
    """One turn for the proxy-client layer; checked there before anything is sent."""

    endpoint: Endpoint
    """Where to."""
    product: Product
    """What is known to stand there (R-12)."""
    model: str
    """The model's name."""
    messages: tuple[ChatMessage, ...]
    """Oldest first; reasoning in them is not sent."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to choose words."""
