"""Prompts of which a server has left out a part."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.errors import ServerRejected
from lmchat.servers.products import product_named
from lmchat.servers.request import ChatRequest, FittingValue
from lmchat.sessions.message import AnswerStats
from lmchat.token_estimate import TEMPLATE_TOKENS, estimate_tokens, is_prompt_cut

_LARGER_WINDOW = "Shorten it, or use a larger context window."


def with_cut_prompt(stats: AnswerStats, request: ChatRequest, *, has_reply: bool) -> AnswerStats:
    """Return the stats of a complete answer, which say whether its prompt was cut.

    For requests outside of a session, which has better estimates (`chat/context.py`). Raises as
    `require_useful_answer` does.
    """
    counted = stats.prompt_tokens
    tokens = sum(estimate_tokens(one.text) + TEMPLATE_TOKENS for one in request.messages)
    if counted is None or not is_prompt_cut(
        counted, estimate=tokens, window=request.target.context, has_images=bool(request.files)
    ):
        return stats
    require_useful_answer(request, tokens=tokens, counted=counted, has_reply=has_reply)
    return replace(stats, is_prompt_cut=True)


def require_useful_answer(
    request: ChatRequest,
    *,
    tokens: int,
    counted: int,
    has_reply: bool,
    hint: str = _LARGER_WINDOW,
) -> None:
    """Raise `ServerRejected` if a cut prompt makes its answer useless.

    The answer is empty then, or has to match a schema, so that its values are invented. The count
    is too rough for that: the product must be known to cut prompts.
    """
    product = product_named(request.target.product)
    is_of_use = has_reply and not isinstance(request.output, FittingValue)
    if is_of_use or not product.cuts_prompts:
        return
    error = ServerRejected(
        f"{product.subject} has left out a part of the prompt: it has about "
        f"{tokens} tokens, and {counted} were read.",
        kind="context_overflow",
        hint=hint,
    )
    error.needed_tokens = tokens
    raise error
