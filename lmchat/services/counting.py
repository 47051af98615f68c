"""How many tokens a prompt has, asked of its server before it goes out: an estimate may be off by a tenth."""

from __future__ import annotations

import asyncio

from lmchat.domain.context import ContextPlan, plan_context
from lmchat.domain.message_path import MessagePath
from lmchat.domain.request import ChatRequest
from lmchat.errors import LMChatError
from lmchat.services.asking import HowToAsk, request_for
from lmchat.services.context_meter import ContextMeter
from lmchat.services.ports import Backend

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
