"""An answer asked for with what fits; a server that finds it too long is asked once more, with less."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from lmchat.domain.context import ContextPlan, plan_context
from lmchat.domain.event import ReasoningDelta, RefusalDelta, StreamEvent, TextDelta, ToolCallDelta
from lmchat.domain.message import ChatMessage
from lmchat.domain.path import MessagePath
from lmchat.errors import LMChatError, ServerRejected
from lmchat.services.asking import HowToAsk, plan_for, request_for, takes_up
from lmchat.services.context_meter import ContextMeter, fitted
from lmchat.services.continuation import Joint
from lmchat.services.ports import Backend

_TOKENS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)
_CANNOT_TAKE_UP = ("bad_request", "server_error", "unsupported")
"""How servers refuse a last message that is the assistant's, as some do for a model that thinks."""


class FittedStream:
    """The stream of one answer, and what of the conversation it was asked with."""

    def __init__(
        self,
        backend: Backend,
        meter: ContextMeter,
        how: HowToAsk,
        path: MessagePath,
        begun: ChatMessage | None,
    ) -> None:
        self._backend = backend
        self._meter = meter
        self._how = how
        self._path = path.added(begun) if begun else path
        self._begun = begun
        self._is_taken_up = begun is not None and takes_up(how.target.product, begun)
        self._joint: Joint | None = None
        self.plan = fitting_plan(meter, self._path, how)
        """What is sent; less after a refusal."""

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield what comes; what was refused before anything came goes out once more in another way.

        A prompt that was too long with less, an answer that the server does not take up with words to go on.
        """
        has_begun = is_second = False
        if self._how.is_truncating and self._begun is None:
            self.plan = await fitted(self._backend, self._meter, self._how, self._path, self.plan)
        while True:
            try:
                async with aclosing(self._attempt()) as events:
                    async for event in events:
                        has_begun |= isinstance(event, _TOKENS)
                        yield event
            except ServerRejected as error:
                if self._is_taken_up and not has_begun and error.kind in _CANNOT_TAKE_UP:
                    self._is_taken_up = False
                    continue
                shorter = self._learn(error)
                if has_begun or is_second or shorter is None:
                    raise
                self.plan, is_second = shorter, True
            else:
                return

    def left(self) -> tuple[StreamEvent, ...]:
        """Return what came and was held back when the stream was stopped."""
        return self._joint.close() if self._joint else ()

    async def _attempt(self) -> AsyncGenerator[StreamEvent, None]:
        joint = self._joint = Joint(self._begun, is_taken_up=self._is_taken_up) if self._begun else None
        request = request_for(self._how, self.plan, self._begun, is_taken_up=self._is_taken_up)
        try:
            async with aclosing(self._backend.stream(request)) as events:
                async for event in events:
                    for one in (event,) if joint is None else joint.feed(event):
                        yield one
        except LMChatError:
            for one in self.left():
                yield one
            raise
        for one in self.left():
            yield one

    def _learn(self, error: ServerRejected) -> ContextPlan | None:
        """Learn from a refusal, and return a plan that leaves out more; None where there is none."""
        # who names no count has at least said that it is more than the window
        least = error.needed_tokens or error.room_tokens or self.plan.limit
        if error.kind != "context_overflow" or not least:
            return None
        self._meter.learn_refusal(self._how.target, self.plan.messages, least)
        plan = plan_context(
            self._path,
            limit=error.room_tokens or self.plan.limit,
            max_tokens=self._how.sampling.max_tokens,
            factor=self._meter.factor(self._how.target),
        )
        return plan if self._how.is_truncating and plan.left_out > self.plan.left_out else None


def fitting_plan(meter: ContextMeter, path: MessagePath, how: HowToAsk) -> ContextPlan:
    """Return what of a path fits, by what is known of the model or kept with the path.

    Raises:
        RequestInvalid: it does not fit whole, and the user wants nothing to be left out.
    """
    meter.recall(how.target, path)
    return plan_for(path, how, meter.factor(how.target))
