"""How full the window is: estimates that learn from what the server counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

from lmchat.domain.context import (
    MESSAGE_OVERHEAD_TOKENS,
    ContextPlan,
    estimate_message,
    plan_context,
    said_tokens,
    sizes_of,
)
from lmchat.domain.message import ChatMessage
from lmchat.domain.path import MessagePath, estimate_tokens
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Target
from lmchat.errors import LMChatError
from lmchat.services.asking import HowToAsk, request_for
from lmchat.services.ports import Backend

_SMALL_TOKENS = 24
"""Prompts below this say more about the chat template than about the text."""
_TELLING_TOKENS = 100
"""Kept counts of smaller prompts are no measure: the highest of many would be the chat template's."""
_RECALLED = 64
"""Messages from the beginning and from the end of a path that are asked for their counts."""
_MOST_FACTOR = 4.0
"""No tokenizer differs more from our estimate; a count beyond this is a server's own mistake."""
_MOST_COUNTS = 64
"""Conversations that the server's count is kept of."""
_SEEN_SHARE = 0.6
"""Fewer pieces than this share of our estimate held several tokens each: then the estimate tells more."""
_CUT_SHARE = 0.6
"""A server that counts less than this share of our estimate has left something out."""
_CUT_TOKENS = 1000
"""Estimates below this are too rough to accuse a server."""


class ContextUse(Struct, frozen=True, kw_only=True):
    """What of the window the next request takes."""

    tokens: int
    """Tokens of the conversation."""
    limit: int | None
    """The window; None where it is unknown."""
    is_estimated: bool
    """Whether `tokens` is an estimate."""

    @property
    def fraction(self) -> float | None:
        """Share of the window, 0 to 1 and beyond; None where the window is unknown."""
        return self.tokens / self.limit if self.limit else None


class Drafted(Struct, frozen=True, kw_only=True):
    """What the next request takes with what stands in the prompt."""

    tokens: int
    """What the draft adds."""
    total: int | None
    """With the conversation before it, as the server counts; None where it has not."""
    is_estimated: bool
    """Whether `tokens` is an estimate."""


class ContextMeter:
    """Keeps one correction per model: what its server counted over what we had estimated."""

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}
        self._last: tuple[object, ContextUse] | None = None
        self._counted: dict[object, int] = {}
        self._draft: tuple[object, str, int] | None = None

    def factor(self, target: Target | None) -> float:
        """Return the correction for a model; 1 before anything was learnt."""
        return 1.0 if target is None else self._factors.get(_key(target), 1.0)

    def learn(self, target: Target, sent: Sequence[ChatMessage], counted: int) -> None:
        """Take a server's count of a prompt; recent counts weigh most."""
        estimate = sum(estimate_message(message) for message in sent)
        if counted <= 0 or estimate < _SMALL_TOKENS or self.is_cut(target, sent, counted):
            return
        old = self._factors.get(_key(target))
        fresh = min(max(counted / estimate, 1 / _MOST_FACTOR), _MOST_FACTOR)
        self._factors[_key(target)] = fresh if old is None else (old + 2 * fresh) / 3

    def weigh(self, target: Target, sent: Sequence[ChatMessage], counted: int) -> None:
        """Take a count that was asked for: from now on the estimate of these messages is this count."""
        estimates = list(MessagePath(sent).tokens)
        if sum(estimates) >= _SMALL_TOKENS:
            fresh = (counted - MESSAGE_OVERHEAD_TOKENS * len(estimates)) / sum(estimates)
            self._factors[_key(target)] = min(max(fresh, 1 / _MOST_FACTOR), _MOST_FACTOR)

    def note_count(self, target: Target, messages: Sequence[ChatMessage], counted: int) -> None:
        """Keep what the server counts for a conversation as it stands."""
        while len(self._counted) >= _MOST_COUNTS:
            del self._counted[next(iter(self._counted))]
        self._counted[(_key(target), _place(messages))] = counted

    def note_draft(self, target: Target, messages: Sequence[ChatMessage], text: str, counted: int) -> None:
        """Keep what the server counts for a conversation with what stands in the prompt."""
        self._draft = (_key(target), _place(messages)), text, counted

    def learn_refusal(self, target: Target, sent: Sequence[ChatMessage], least: int) -> None:
        """Take it that a refused prompt had at least so many tokens."""
        estimate = sum(estimate_message(message) for message in sent)
        if estimate > 0:
            fresh = min(least / estimate, _MOST_FACTOR)
            self._factors[_key(target)] = max(self.factor(target), fresh)

    def recall(self, target: Target, path: MessagePath) -> None:
        """Where nothing was learnt yet, learn from the counts that are kept with the answers of a path.

        How much of the path was sent for them is not known. It was never more than all before an answer, so
        that each count is a lower bound, and the highest is the best: of those before anything was left out.
        """
        if _key(target) in self._factors:
            return
        before = [0, *accumulate(sizes_of(path.tokens, 1.0))]
        places = sorted({*range(len(path))[:_RECALLED], *range(len(path))[-_RECALLED:]})
        found = []
        for place in places:
            message = path[place]
            counted = message.receipt.prompt_tokens if message.receipt else None
            if not counted or message.model != target.model_id or before[place] < _TELLING_TOKENS:
                continue
            if before[place] < _CUT_TOKENS or counted >= _CUT_SHARE * before[place]:
                found.append(counted / before[place])
        if found:
            self._factors[_key(target)] = min(max(*found, 1 / _MOST_FACTOR), _MOST_FACTOR)

    def is_cut(self, target: Target, sent: Sequence[ChatMessage], counted: int) -> bool:
        """Whether a server seems to have left out part of the prompt (Ollama does so silently)."""
        estimate = sum(estimate_message(message, factor=self.factor(target)) for message in sent)
        return estimate >= _CUT_TOKENS and counted < _CUT_SHARE * estimate

    def use(self, target: Target | None, messages: Sequence[ChatMessage]) -> ContextUse:
        """Return what the conversation takes: the server's last count, and an estimate of what came after."""
        factor = self.factor(target)
        limit = target.model.context if target and target.model else None
        place = _place(messages)
        counted = self._counted.get((_key(target), place)) if target else None
        if counted is not None:
            return ContextUse(tokens=counted, limit=limit, is_estimated=False)
        key = (target.model_id if target else "", factor, limit, place)
        if self._last is None or self._last[0] != key:  # asked four times a second while an answer comes
            self._last = key, self._use(target, messages, factor, limit)
        return self._last[1]

    @staticmethod
    def _use(
        target: Target | None, messages: Sequence[ChatMessage], factor: float, limit: int | None
    ) -> ContextUse:
        after: list[float] = []
        tokens = 0
        path = MessagePath(messages)
        for estimate, counted, model in path.counts():
            if counted and (target is None or model == target.model_id):
                tokens = counted
                break
            after.append(estimate)
        sizes = sizes_of(after, factor)
        newest = zip(after[:_RECALLED], sizes, reversed(path), strict=False)
        tokens += sum(_size(*one) for one in newest) + sum(sizes[_RECALLED:])
        return ContextUse(tokens=tokens, limit=limit, is_estimated=bool(after))

    def drafted(self, target: Target | None, messages: Sequence[ChatMessage], text: str) -> Drafted:
        """Return what a draft adds to a conversation: counted where that was done, else estimated."""
        where = (_key(target), _place(messages)) if target else None
        if text and self._draft is not None and self._draft[:2] == (where, text):
            use, total = self.use(target, messages), self._draft[2]
            return Drafted(tokens=max(total - use.tokens, 1), total=total, is_estimated=use.is_estimated)
        tokens = estimate_tokens(text, factor=self.factor(target))
        return Drafted(tokens=tokens, total=None, is_estimated=True)


def _size(estimate: float, corrected: int, message: ChatMessage) -> int:
    """Return what a message takes: what was seen of an answer as it came, else the estimate as corrected."""
    seen = said_tokens(message)
    return seen + MESSAGE_OVERHEAD_TOKENS if seen > _SEEN_SHARE * estimate else corrected


def _key(target: Target) -> tuple[str, str]:
    return target.endpoint.url, target.model_id


def _place(messages: Sequence[ChatMessage]) -> tuple[object, ...]:
    """Return what changes whenever a conversation does."""
    return (len(messages), messages[-1].message_id, messages[-1].state) if messages else ()


COUNT_S = 1.0
"""Longer no answer waits for a count: an estimate is at hand."""
_NEAR = 0.8
"""Share of the room beyond which an estimate may be wrong about what fits."""
_TRIES = 2


async def fitted(
    backend: Backend, meter: ContextMeter, how: HowToAsk, path: MessagePath, plan: ContextPlan
) -> ContextPlan:
    """Return what of a path is sent, as its server counts it where it comes close to the window."""
    for _ in range(_TRIES):
        is_near = plan.limit is not None and plan.tokens >= _NEAR * (plan.limit - plan.reserve)
        if plan.limit is None or not (is_near or plan.left_out):
            break
        counted = await server_count(backend, request_for(how, plan, None))
        if counted is None:
            break
        meter.weigh(how.target, plan.messages, counted)
        before, plan = plan, _plan(path, how, meter, plan.limit)
        if len(plan.messages) == len(before.messages):
            break
    return plan


async def server_count(backend: Backend, request: ChatRequest) -> int | None:
    """Return the tokens of a prompt; None where the server does not tell them, or not soon."""
    try:
        async with asyncio.timeout(COUNT_S):
            return await backend.count_tokens(request)
    except (LMChatError, TimeoutError):
        return None


def _plan(path: MessagePath, how: HowToAsk, meter: ContextMeter, limit: int) -> ContextPlan:
    factor = meter.factor(how.target)
    return plan_context(path, limit=limit, max_tokens=how.sampling.max_tokens, factor=factor)
