"""Use of the context window: estimates, corrected by the server's counts."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from lmchat.domain.context import (
    MESSAGE_OVERHEAD_TOKENS,
    ContextPlan,
    counted_tokens,
    estimate_message,
    estimate_tokens,
    plan_context,
    raw_tokens,
)
from lmchat.domain.message import ChatMessage
from lmchat.domain.server import Target

_SMALL_TOKENS = 24
"""Counts of smaller prompts tell more about the chat template than about the text."""
_MOST_FACTOR = 4.0
_CUT_SHARE = 0.6
"""A server that counts less than this share has left something out."""
_CUT_TOKENS = 1000
"""Smaller estimates are too rough for that."""


class ContextUse(Struct, frozen=True, kw_only=True):
    """Part of the window that the next request takes."""

    tokens: int
    limit: int | None
    is_estimated: bool

    @property
    def fraction(self) -> float | None:
        return self.tokens / self.limit if self.limit else None


class ContextMeter:
    """Correction factors by model: what the server counted over the estimate."""

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}
        self._last: tuple[object, ContextUse] | None = None

    def factor(self, target: Target | None) -> float:
        return 1.0 if target is None else self._factors.get(_key(target), 1.0)

    def learn(
        self, target: Target, sent: Sequence[ChatMessage], counted: int, *, is_exact: bool = False
    ) -> None:
        """Learn from a count of a prompt; one that was asked for is `is_exact`."""
        raw = sum(raw_tokens(message.text) for message in sent)
        if counted <= 0 or raw < _SMALL_TOKENS or (not is_exact and self.is_cut(target, sent, counted)):
            return
        fresh = (counted - MESSAGE_OVERHEAD_TOKENS * len(sent)) / raw
        old = self._factors.get(_key(target))
        self._set(target, fresh if old is None or is_exact else (old + 2 * fresh) / 3)

    def learn_refusal(self, target: Target, sent: Sequence[ChatMessage], least: int) -> None:
        estimate = sum(map(estimate_message, sent))
        if estimate > 0:
            self._set(target, max(self.factor(target), least / estimate))

    def is_cut(self, target: Target, sent: Sequence[ChatMessage], counted: int) -> bool:
        """Whether a server seems to have left out part of the prompt (Ollama does so silently)."""
        estimate = sum(estimate_message(message, factor=self.factor(target)) for message in sent)
        return estimate >= _CUT_TOKENS and counted < _CUT_SHARE * estimate

    def plan(
        self,
        target: Target,
        path: Sequence[ChatMessage],
        *,
        max_tokens: int | None,
        limit: int | None = None,
    ) -> ContextPlan:
        limit = limit or target.context
        return plan_context(path, limit=limit, max_tokens=max_tokens, factor=self.factor(target))

    def use(self, target: Target | None, messages: Sequence[ChatMessage]) -> ContextUse:
        """Return the server's last count with an estimate of what came after."""
        factor = self.factor(target)
        limit = target.context if target else None
        last = (messages[-1].message_id, messages[-1].state) if messages else ()
        key = (target.model_id if target else "", factor, limit, len(messages), last)
        if self._last is None or self._last[0] != key:  # asked several times a second while an answer comes
            tokens, is_estimated = 0, False
            for message in reversed(messages):
                counted = counted_tokens(message)
                if counted and (target is None or message.model == target.model_id):
                    tokens += counted
                    break
                tokens += estimate_message(message, factor=factor)
                is_estimated = True
            self._last = key, ContextUse(tokens=tokens, limit=limit, is_estimated=is_estimated)
        return self._last[1]

    def draft_tokens(self, target: Target | None, text: str) -> int:
        return estimate_tokens(text, factor=self.factor(target))

    def _set(self, target: Target, factor: float) -> None:
        self._factors[_key(target)] = min(max(factor, 1 / _MOST_FACTOR), _MOST_FACTOR)


def _key(target: Target) -> tuple[str, str]:
    return target.endpoint.url, target.model_id
