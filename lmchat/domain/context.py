"""How much of a conversation fits into the window of a model: estimates and the sliding window; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.path import MessagePath, estimate_tokens, raw_tokens

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


def estimate_message(message: ChatMessage, *, factor: float = 1.0) -> int:
    """Estimate the tokens that a message takes in a request."""
    return estimate_tokens(message.text, factor=factor) + MESSAGE_OVERHEAD_TOKENS


def said_tokens(message: ChatMessage) -> int:
    """Return the tokens of what an answer says, as far as its turn has seen them come; 0 for what is none.

    What was thought, and calls of tools, were counted with it: the share of the text is what is sent again.
    """
    receipt = message.receipt
    said = raw_tokens(message.text)
    if message.role is not Role.ASSISTANT or receipt is None or not said:
        return 0
    seen = receipt.whole.completion_tokens or 0
    rest = raw_tokens(message.reasoning) + sum(raw_tokens(call.arguments) for call in message.tool_calls)
    return round(seen * said / (said + rest))


def answer_reserve(limit: int | None, max_tokens: int | None) -> int:
    """Return the tokens to keep free for the answer: `max_tokens`, else the smaller of 1000 and a quarter."""
    if max_tokens is not None and max_tokens > 0:
        return max_tokens
    return 0 if limit is None else min(1000, limit // 4)


def plan_context(
    messages: Sequence[ChatMessage], *, limit: int | None, max_tokens: int | None = None, factor: float = 1.0
) -> ContextPlan:
    """Choose what to send: the system prompt and the last messages stay, whole messages go, oldest first."""
    path = MessagePath(messages)
    estimates = list(path.tokens)
    talk, systems = [], []
    for index, role in enumerate(path.roles):
        if role is Role.SYSTEM:
            systems.append(index)
        elif estimates[index]:
            talk.append(index)
    sizes = sizes_of([estimates[index] for index in talk], factor)
    has_system = bool(systems) and bool(estimates[systems[-1]])
    (base,) = sizes_of([estimates[systems[-1]]], factor) if has_system else (0,)
    reserve = answer_reserve(limit, max_tokens)
    needed = kept = base + sum(sizes)
    first = 0
    while limit is not None and kept + reserve > limit and len(talk) - first > KEPT_MESSAGES:
        kept -= sizes[first]
        first += 1
    kept_talk = talk[first:]
    start = kept_talk[0] if kept_talk else len(path)
    said = list(path[start:])  # in one go: reading one by one takes twice as long
    opening = [path[systems[-1]]] if has_system else []
    return ContextPlan(
        messages=(*opening, *(said[index - start] for index in kept_talk)),
        left_out=first,
        tokens=kept,
        needed_tokens=needed,
        limit=limit,
        reserve=reserve,
    )


def needed_tokens(messages: Sequence[ChatMessage], *, factor: float = 1.0) -> int:
    """Estimate a whole conversation; what it says is not looked at, however long it is."""
    return plan_context(messages, limit=0, factor=factor).needed_tokens  # keeps no more than must stay


def sizes_of(estimates: Iterable[float], factor: float) -> list[int]:
    """Return the tokens that messages take in a request, from the estimates of their texts."""
    # `corrected`, written out: a long session is measured for each turn
    return [(round(raw * factor) or bool(raw)) + MESSAGE_OVERHEAD_TOKENS for raw in estimates]
