"""How much of a conversation fits into the window of a model: estimates and the sliding window; pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Role

MESSAGE_OVERHEAD_TOKENS = 4
"""What a chat template adds around a message, about."""
KEPT_MESSAGES = 2
"""The last messages that always stay."""


class ContextPlan(Struct, frozen=True, kw_only=True):
    """What of a conversation will be sent."""

    messages: tuple[ChatMessage, ...]
    """The system prompt, if any, then what is kept, oldest first."""
    left_out: int
    """How many of the oldest messages do not fit."""
    tokens: int
    """Estimate for what is sent."""
    needed_tokens: int
    """Estimate for the whole conversation."""
    limit: int | None
    """The window; None where it is unknown."""
    reserve: int
    """Tokens kept free for the answer."""

    @property
    def fits(self) -> bool:
        """Whether nothing has to be left out and what must stay has room."""
        return self.limit is None or self.needed_tokens + self.reserve <= self.limit


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    """Estimate the tokens of a text: 4 characters of ASCII, 2 of other letters, 1 of CJK and emoji each.

    `factor` corrects for one model what its server counted differently.
    """
    return max(1, round(_raw_tokens(text) * factor)) if text else 0


@lru_cache(maxsize=16_384)
def _raw_tokens(text: str) -> float:
    """Return the estimate without correction; kept, since a long session is measured for each turn."""
    if text.isascii():
        return len(text) / 4
    ascii_chars = len(text.encode("ascii", "ignore"))
    wide = sum(char > "\u2e7f" for char in text)
    return ascii_chars / 4 + (len(text) - ascii_chars - wide) / 2 + wide


def estimate_message(message: ChatMessage, *, factor: float = 1.0) -> int:
    """Estimate the tokens that a message takes in a request."""
    return estimate_tokens(message.text, factor=factor) + MESSAGE_OVERHEAD_TOKENS


def answer_reserve(limit: int | None, max_tokens: int | None) -> int:
    """Return the tokens to keep free for the answer: `max_tokens`, else the smaller of 1000 and a quarter."""
    if max_tokens is not None and max_tokens > 0:
        return max_tokens
    return 0 if limit is None else min(1000, limit // 4)


def plan_context(
    messages: Sequence[ChatMessage], *, limit: int | None, max_tokens: int | None = None, factor: float = 1.0
) -> ContextPlan:
    """Choose what to send: the system prompt and the last messages stay, whole messages go, oldest first."""
    system = next((message for message in reversed(messages) if message.role is Role.SYSTEM), None)
    talk = [message for message in messages if message.role is not Role.SYSTEM and is_sendable(message)]
    sizes = [estimate_message(message, factor=factor) for message in talk]
    base = estimate_message(system, factor=factor) if system is not None and system.text else 0
    reserve = answer_reserve(limit, max_tokens)
    needed = kept = base + sum(sizes)
    first = 0
    while limit is not None and kept + reserve > limit and len(talk) - first > KEPT_MESSAGES:
        kept -= sizes[first]
        first += 1
    head = (system,) if base and system is not None else ()
    return ContextPlan(
        messages=(*head, *talk[first:]),
        left_out=first,
        tokens=kept,
        needed_tokens=needed,
        limit=limit,
        reserve=reserve,
    )


def is_sendable(message: ChatMessage) -> bool:
    """Whether a message has anything that a server should get; an answer that failed has not."""
    return bool(message.text)
