"""Estimates of the tokens of messages, which learn from the counts of the server.

The head of `plan.py` says what raw estimates, factors, estimates and counts are.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from lmchat.chat.planning.plan import (
    ContextPlan,
    message_tokens,
    sent_messages,
)
from lmchat.servers.products import product_named, sent_thoughts_to
from lmchat.servers.target import Target
from lmchat.sessions.message import ChatMessage, Role, SentThoughts, thoughts_to_send
from lmchat.token_estimate import TEMPLATE_TOKENS, is_prompt_cut

# in counts of smaller prompts, the system prompt that many chat templates add weighs too much
_SMALL_TOKENS = 200
_MAX_FACTOR = 4.0  # highest factor; the lowest is a quarter


class ContextUse(Struct, frozen=True, kw_only=True):
    """Part of the window that the messages of a session take."""

    tokens: int
    limit: int | None  # tokens of the window; None if unknown
    is_estimated: bool  # False if the server has counted all of it

    @property
    def fraction(self) -> float | None:
        return self.tokens / self.limit if self.limit else None


class ContextMeter:
    """The factors of the models, and the estimates that are made with them.

    The factor of a model is the server's count of texts, divided by the raw estimate for them. The
    argument `counted` is the server's count for the messages of a plan. Tools are not in it, as
    `AnswerRequest` has taken the estimate for them off.
    """

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}  # by URL of the server and name of model
        self._windows: dict[tuple[str, str], tuple[int | None, int]] = {}
        """By the same: the window that the list told, and the one that a refusal has named then."""
        self._last_use: tuple[Sequence[ChatMessage], object, ContextUse] | None = None
        """Cache of `use`: messages, what else the result depends on, and the result."""

    def factor(self, target: Target | None) -> float:
        """Return the learned factor of a model; 1 before the first count."""
        return 1.0 if target is None else self._factors.get(_model_key(target), 1.0)

    def window(self, target: Target | None) -> int | None:
        """Return the window of a model in tokens: as a refusal has named it, else as it is listed.

        A window that the list has changed since counts more than the refusal (R-13).
        """
        if target is None:
            return None
        told, named = self._windows.get(_model_key(target), (None, None))
        return named if named and told == target.context else target.context

    def learn_window(self, target: Target, window: int) -> None:
        """Note the window of a model that a refusal has named."""
        self._windows[_model_key(target)] = (target.context, window)

    def learn(self, target: Target, plan: ContextPlan, counted: int) -> None:
        """Change the factor of a model after its server has counted the messages of a plan.

        The earlier factor has a weight of one third. A count that may be too low is ignored: the
        server has cut the prompt, or the chat template may have left out thoughts. With
        `SentThoughts.ALL`, the template is known to keep them. The count of a prompt with images or
        with little text is ignored, too.
        """
        raw = plan.raw_text + plan.raw_thoughts
        # `counted` is below 0 if the estimate for the tools was too high
        if plan.has_images or counted <= 0 or raw < _SMALL_TOKENS:
            return
        if plan.raw_thoughts > 0 and sent_thoughts_to(target) is not SentThoughts.ALL:
            return  # the template may leave out the thoughts
        if self.is_cut(target, plan, counted):
            return
        # the part of the count that the text has made, without the marks of the chat template
        factor = (counted - TEMPLATE_TOKENS * len(plan.messages)) / raw
        # the first count of a model alone makes its factor
        earlier_factor = self._factors.get(_model_key(target), factor)
        self._set_factor(target, (earlier_factor + 2 * factor) / 3)

    def learn_refusal(self, target: Target, plan: ContextPlan, least_tokens: int) -> float:
        """Return the factor for a new plan after the server has refused this one as too long.

        The refusal shows that the prompt has `least_tokens` tokens or more. If the estimate
        `plan.tokens` was lower, the factor is raised in proportion, and noted for later plans. It
        is not noted if this plan has images: their tokens are unknown, and would be taken for those
        of texts. If the estimate was not too low, the factor stays as it is. The new plan may still
        differ, as the server may have named a smaller window.
        """
        factor = self.factor(target)
        if plan.tokens < least_tokens:
            # `plan.tokens` contains `factor` already. It also has tokens that no factor changes
            # (images, tools, template), so the new factor is a little too low.
            factor = min(factor * least_tokens / plan.tokens, _MAX_FACTOR)
            if not plan.has_images:
                self._set_factor(target, factor)
        return factor

    def is_cut(self, target: Target, plan: ContextPlan, counted: int) -> bool:
        """Whether a server seems to have left out a part of the prompt (`is_prompt_cut`).

        The estimate is that of the messages without their thoughts, which templates may leave out.
        """
        return is_prompt_cut(
            counted,
            estimate=plan.raw_text * self.factor(target) + TEMPLATE_TOKENS * len(plan.messages),
            window=self.window(target),
            reserve=plan.reserve,
            has_images=plan.has_images,
        )

    def use(self, target: Target | None, messages: Sequence[ChatMessage]) -> ContextUse:
        """Return the part of the window that the messages take.

        The tokens are the last count of the model's server, plus an estimate for the later
        messages. If messages are taken out of requests, all is an estimate. If nothing has changed
        since the last call, the same result is returned.
        """
        factor = self.factor(target)
        limit = self.window(target)
        sent_thoughts = sent_thoughts_to(target)
        model_id = target.model_id if target else ""
        key = (model_id, factor, limit, sent_thoughts)
        if self._last_use is not None:  # the screen asks whenever it shows its figures
            last_messages, last_key, last_use = self._last_use
            if last_messages is messages and last_key == key:
                return last_use

        tokens = 0
        uncounted: Sequence[ChatMessage] = []  # the messages that have to be estimated
        # if messages are taken out of requests now, no count is used: it may include them
        if any(message.is_excluded for message in messages):
            uncounted = sent_messages(messages)
        else:
            tokens, uncounted = _last_count(messages, model_id)
        thoughts = thoughts_to_send(uncounted, sent_thoughts)
        for message, thought in zip(uncounted, thoughts, strict=True):
            tokens += message_tokens(message, thought, factor=factor)
        use = ContextUse(tokens=tokens, limit=limit, is_estimated=bool(uncounted))
        self._last_use = (messages, key, use)
        return use

    def _set_factor(self, target: Target, factor: float) -> None:
        """Note the factor of a model, limited to the range from a quarter to 4.

        A server that counts wrongly must not make all messages seem to fit, or none.
        """
        self._factors[_model_key(target)] = min(max(factor, 1 / _MAX_FACTOR), _MAX_FACTOR)


def _counted_tokens(message: ChatMessage) -> int:
    """Return the tokens of the session up to the end of this answer, as the server counted them.

    The sum is the server's count of the prompt, which has all earlier messages, and that of the
    answer. Return 0 for other messages, and if the server has not counted both.
    """
    stats = message.stats
    if message.role is not Role.ASSISTANT or stats is None or stats.is_estimated:
        return 0
    if stats.is_prompt_cut and product_named(stats.product).cuts_prompts:  # not all is counted
        return 0
    if stats.prompt_tokens is None or stats.completion_tokens is None:
        return 0
    return stats.prompt_tokens + stats.completion_tokens


def _last_count(
    messages: Sequence[ChatMessage], model_id: str
) -> tuple[int, Sequence[ChatMessage]]:
    """Return the tokens up to the last answer with a count, and the messages after it.

    Only counts of this model are used, as another one has other tokens; if `model_id` is empty, any
    count is. Without a count, return 0 and all messages.
    """
    for index in reversed(range(len(messages))):
        answer = messages[index]
        tokens = _counted_tokens(answer) if model_id in ("", answer.model) else 0
        if tokens:
            return tokens, messages[index + 1 :]
    return 0, messages


def _model_key(target: Target) -> tuple[str, str]:
    """Return the key of a model's factor, with the server: others may have a model of this name."""
    return target.endpoint.url, target.model_id
