"""Prompts of which a server has left out a part, as its count shows."""

from __future__ import annotations

import re

from msgspec.structs import replace

from lmchat.base.errors import ServerRejected
from lmchat.base.token_estimate import TEMPLATE_TOKENS, estimate_tokens
from lmchat.core.servers.request import ChatRequest
from lmchat.core.sessions.message import AnswerStats

_LARGER_WINDOW = "Shorten it, or use a larger context window."
_SMALLEST_WINDOW = 256  # tokens; llama.cpp makes smaller windows as large
_WORD = "[0-9A-Za-z\u00c0-\u1fff\u2c00-\u2fff\u3040-\ud7ff]+"  # with marks
"""Run of letters and digits: tokenizers join no two of them, but many Chinese characters.

It is compiled when it is first used, as that takes 2 ms.
"""


def is_prompt_cut(request: ChatRequest, counted: int) -> bool:
    """Return whether the server has counted fewer tokens than the prompt has words."""
    word_count = 0
    least = max(counted, _SMALLEST_WINDOW)
    for message in request.messages:
        word_count += _count_words(message.sent_text)
        for part in message.files:
            if not part.is_image:
                text = request.files.get(part.digest, b"").decode("utf-8", "replace")
                word_count += _count_words(text)
        if word_count > least:
            return True
    return False


def _count_words(text: str) -> int:
    return sum(1 for _ in re.finditer(_WORD, text))


def with_cut_prompt(stats: AnswerStats, request: ChatRequest, *, has_reply: bool) -> AnswerStats:
    """Return the stats of a complete answer, which say whether its prompt was cut.

    For requests outside of a session. Raises `cut_prompt_error` if there is no reply.
    """
    counted = stats.prompt_tokens
    if counted is None or not is_prompt_cut(request, counted):
        return stats
    if not has_reply:
        raise cut_prompt_error(
            request,
            tokens=sum(estimate_tokens(one.text) + TEMPLATE_TOKENS for one in request.messages),
            counted=counted,
        )
    return replace(stats, is_prompt_cut=True)


def cut_prompt_error(
    request: ChatRequest, *, tokens: int, counted: int, next_step: str = _LARGER_WINDOW
) -> ServerRejected:
    """Return the error of an empty answer to a prompt of about `tokens`, of which `counted` are."""
    return ServerRejected(
        f"{request.target.server_name} has left out a part of the prompt: it has about "
        f"{tokens} tokens, and {counted} were read.",
        kind="context_overflow",
        next_step=next_step,
    )
