"""Use of the context window: estimates of tokens, and what of a path fits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.server import LARGER_WINDOW, Product, Target
from lmchat.text import safe_line

_TEMPLATE_TOKENS = 4  # about what a chat template adds to a message
_KEPT_MESSAGES = 2
_MOST_RESERVE = 1000
_WIDE = re.compile("[^\0-\u2e7f]")  # CJK and emoji
_ASCII = bytes(range(128))
_SMALL_TOKENS = 24  # counts of smaller prompts tell more about the chat template than about the text
_MOST_FACTOR = 4.0
_CUT_SHARE = 0.6  # a server that counts less than this share has left something out
_FULL_SHARE = 0.98
"""A prompt that fills this share of the window, without room for an answer, is the rest of a longer one."""
_CUT_TOKENS = 1000  # smaller estimates are too rough for that


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


def raw_of(message: ChatMessage) -> float:
    """Return the tokens of a message with its text files, as `raw_tokens` counts them."""
    files = sum(part.tokens for part in message.files if not part.is_image)
    return raw_tokens(message.sent_text) + files


def _estimate(message: ChatMessage, factor: float = 1.0) -> int:
    """Estimate a message with its files; the factor of a model is one of its texts."""
    images = sum(part.tokens for part in message.files if part.is_image)
    raw = raw_of(message)
    return (max(1, round(raw * factor)) if raw else 0) + images + _TEMPLATE_TOKENS


def has_images(messages: Sequence[ChatMessage]) -> bool:
    """Whether some message has an image; only the server knows how many tokens that takes."""
    return any(part.is_image for message in messages for part in message.files)


def _counted(message: ChatMessage) -> int:
    """Return the tokens up to an answer's end, as the server counted them; 0 where it did not."""
    receipt = message.receipt
    if message.role is not Role.ASSISTANT or receipt is None or receipt.is_estimated:
        return 0
    if receipt.prompt_tokens is None or receipt.completion_tokens is None:
        return 0
    return max(receipt.prompt_tokens + receipt.completion_tokens, 0)


class ContextPlan(Struct, frozen=True, kw_only=True):
    """Part of a conversation that will be sent; tokens are estimates."""

    messages: tuple[ChatMessage, ...]
    left_out: int
    tokens: int
    needed_tokens: int  # for the whole conversation
    limit: int | None
    reserve: int

    @property
    def fits(self) -> bool:
        return self.limit is None or self.needed_tokens + self.reserve <= self.limit


def plan_context(
    messages: Sequence[ChatMessage],
    *,
    limit: int | None,
    max_tokens: int | None = None,
    factor: float = 1.0,
    tool_tokens: int = 0,
) -> ContextPlan:
    """Choose what to send: the system prompt and the last messages stay, whole messages go, oldest first.

    `max_tokens` are kept free for the answer, or else 1000 or a quarter of the window. `tool_tokens` are for
    the tools that are offered. What follows the last prompt stays, and results go with their calls.
    """
    said = [message for message in messages if message.sent_text or message.files]
    talk = [message for message in said if message.role is not Role.SYSTEM]
    systems = [message for message in messages if message.role is Role.SYSTEM][-1:]
    opening = [message for message in systems if message.text]
    sizes = [_estimate(message, factor) for message in talk]
    reserve = max_tokens or (0 if limit is None else min(_MOST_RESERVE, limit // 4))
    needed = kept = tool_tokens + sum(sizes) + sum(_estimate(message, factor) for message in opening)
    prompts = (place for place in range(len(talk) - 1, -1, -1) if talk[place].role is Role.USER)
    last = min(next(prompts, len(talk)), len(talk) - _KEPT_MESSAGES)
    first = 0
    while first < last and (talk[first].role is Role.TOOL or (limit is not None and kept + reserve > limit)):
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


def cut_note(target: Target, tokens: int, window: int) -> str:
    """Return that a prompt is longer than the window, what the server does then, and what helps."""
    fate = "may refuse the prompt or drop a part of it"
    fate = "drops its beginning" if target.product is Product.OLLAMA else fate
    context = 1 << (tokens + _MOST_RESERVE).bit_length()
    step = LARGER_WINDOW.get(target.product, "Shorten it, or use a larger context window")
    return (
        f"The prompt has about {tokens} tokens, the context window {window}: {target.product} {fate}. "
        f"{step.format(context=context, model=safe_line(target.model_id, limit=80))}."
    )


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
        raw = sum(map(raw_of, sent))
        is_useless = has_images(sent) or counted <= 0 or raw < _SMALL_TOKENS
        if is_useless or (not is_exact and self.is_cut(target, sent, counted)):
            return
        fresh = (counted - _TEMPLATE_TOKENS * len(sent)) / raw
        old = self._factors.get(_key(target))
        self._set(target, fresh if old is None or is_exact else (old + 2 * fresh) / 3)

    def learn_refusal(self, target: Target, sent: Sequence[ChatMessage], least: int) -> None:
        if sent:
            self._set(target, max(self.factor(target), least / sum(map(_estimate, sent))))

    def is_cut(self, target: Target, sent: Sequence[ChatMessage], counted: int) -> bool:
        """Whether a server seems to have left out part of the prompt (Ollama does so silently)."""
        if target.context is not None and _FULL_SHARE * target.context <= counted <= target.context:
            return True
        estimate = sum(_estimate(message, self.factor(target)) for message in sent)
        return not has_images(sent) and estimate >= _CUT_TOKENS and counted < _CUT_SHARE * estimate

    def use(self, target: Target | None, messages: Sequence[ChatMessage]) -> ContextUse:
        """Return the server's last count with an estimate of what came after."""
        factor = self.factor(target)
        limit = target.context if target else None
        last = (messages[-1].message_id, messages[-1].state) if messages else ()
        key = (target.model_id if target else "", factor, limit, len(messages), last)
        if self._last is None or self._last[0] != key:  # asked several times a second while an answer comes
            tokens, is_estimated = 0, False
            for message in reversed(messages):
                counted = _counted(message)
                if counted and (target is None or message.model == target.model_id):
                    tokens += counted
                    break
                tokens += _estimate(message, factor)
                is_estimated = True
            self._last = key, ContextUse(tokens=tokens, limit=limit, is_estimated=is_estimated)
        return self._last[1]

    def draft_tokens(self, target: Target | None, text: str) -> int:
        return estimate_tokens(text, factor=self.factor(target))

    def _set(self, target: Target, factor: float) -> None:
        self._factors[_key(target)] = min(max(factor, 1 / _MOST_FACTOR), _MOST_FACTOR)


def _key(target: Target) -> tuple[str, str]:
    return target.endpoint.url, target.model_id
