"""Estimates of tokens, and the part of a conversation that fits into the context window."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Role

MESSAGE_OVERHEAD_TOKENS = 4
"""About what a chat template adds to a message."""
KEPT_MESSAGES = 2
_WIDE = re.compile("[^\0-\u2e7f]")
_ASCII = bytes(range(128))


def raw_tokens(text: str) -> float:
    """Return 4 characters of ASCII, 2 of other letters, 1 of CJK and emoji each as one token."""
    if text.isascii():
        return len(text) / 4
    rest = text.encode(errors="surrogatepass").translate(None, _ASCII).decode(errors="surrogatepass")
    wide = len(_WIDE.findall(rest))
    return (len(text) - len(rest)) / 4 + (len(rest) - wide) / 2 + wide


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    """Estimate the tokens of a text; `factor` is the correction for a model."""
    return max(1, round(raw_tokens(text) * factor)) if text else 0


def estimate_message(message: ChatMessage, *, factor: float = 1.0) -> int:
    """Estimate the tokens that a message takes in a request."""
    return estimate_tokens(message.text, factor=factor) + MESSAGE_OVERHEAD_TOKENS


def counted_tokens(message: ChatMessage) -> int:
    """Return the tokens up to an answer's end, as the server counted them; 0 where it did not."""
    receipt = message.receipt
    if message.role is not Role.ASSISTANT or receipt is None or receipt.is_estimated:
        return 0
    if receipt.prompt_tokens is None or receipt.completion_tokens is None:
        return 0
    return max(receipt.prompt_tokens + receipt.completion_tokens, 0)


class ContextPlan(Struct, frozen=True, kw_only=True):
    """Part of a conversation that will be sent."""

    messages: tuple[ChatMessage, ...]
    left_out: int
    tokens: int
    needed_tokens: int
    limit: int | None
    reserve: int

    @property
    def fits(self) -> bool:
        return self.limit is None or self.needed_tokens + self.reserve <= self.limit


def answer_reserve(limit: int | None, max_tokens: int | None) -> int:
    """Return the tokens to keep free for the answer: `max_tokens`, else the smaller of 1000 and a quarter."""
    if max_tokens is not None and max_tokens > 0:
        return max_tokens
    return 0 if limit is None else min(1000, limit // 4)


def plan_context(
    messages: Sequence[ChatMessage], *, limit: int | None, max_tokens: int | None = None, factor: float = 1.0
) -> ContextPlan:
    """Choose what to send: the system prompt and the last messages stay, whole messages go, oldest first."""
    talk = [message for message in messages if message.role is not Role.SYSTEM and message.text]
    systems = [message for message in messages if message.role is Role.SYSTEM][-1:]
    opening = [message for message in systems if message.text]
    sizes = [estimate_message(message, factor=factor) for message in talk]
    reserve = answer_reserve(limit, max_tokens)
    needed = kept = sum(sizes) + sum(estimate_message(message, factor=factor) for message in opening)
    first = 0
    while limit is not None and kept + reserve > limit and len(talk) - first > KEPT_MESSAGES:
        kept -= sizes[first]
        first += 1
    return ContextPlan(
        messages=(*opening, *talk[first:]),
        left_out=first,
        tokens=kept,
        needed_tokens=needed,
        limit=limit,
        reserve=reserve,
    )
