"""Answers that their servers have continued while lmchat was away (R-42).

`AnswerStats.replay_id` of a running or interrupted answer is the id under which its server keeps
it. Such an answer is fetched from its first byte, and built again from nothing: so it is exact,
however much of it was saved.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import ModelInfo, Target
from lmchat.servers.products import PRODUCTS
from lmchat.servers.request import ChatRequest
from lmchat.sessions.message import AnswerState, AnswerStats, ChatMessage, interrupted

_ENDED_EARLY = (AnswerState.INTERRUPTED, AnswerState.FAILED)  # failed: before its first text
_NETWORK_KINDS = ("offline", "timeout", "dropped", "interrupted")
"""Kinds of failures after which the answer may be fetched another time."""
_UNSURE_CHARS = 64
"""The last characters of a saved text in which a tag need not be in the fetched one.

Where a text broke off, half a tag, such as `</thi`, may have been taken for words.
"""


def kept_answer(path: Sequence[ChatMessage]) -> ChatMessage | None:
    """Return the last message of a path if it is an answer that its server may have continued."""
    last = path[-1] if path else None
    if last is None or last.stats is None or last.state not in _ENDED_EARLY:
        return None
    return last if last.stats.replay_id else None


def target_of(answer: ChatMessage) -> Target:
    """Return the server and the model of a kept answer; only one product keeps answers."""
    endpoint = Endpoint.parse(answer.endpoint)
    product = next(product.name for product in PRODUCTS if product.can_keep_answers)
    model = ModelInfo(model_id=answer.model, endpoint=endpoint, product=product)
    return Target(endpoint=endpoint, product=product, model=model)


def replay_request(answer: ChatMessage) -> ChatRequest:
    """Return the request that fetches a kept answer."""
    target = target_of(answer)
    return ChatRequest(
        endpoint=target.endpoint,
        product=target.product,
        model=target.model_id,
        messages=(),
        replay_id=replay_id_of(answer),
        is_replay=True,
    )


def replay_id_of(answer: ChatMessage) -> str:
    """Return the id under which a server keeps an answer; empty if none does."""
    return answer.stats.replay_id if answer.stats else ""


def without_replay(answer: ChatMessage) -> ChatMessage:
    """Return an answer without the id under which a server has kept it."""
    if answer.stats is None:
        return answer
    return replace(answer, stats=replace(answer.stats, replay_id=""))


def joined_answer(fetched: ChatMessage, earlier: ChatMessage) -> ChatMessage:
    """Return an answer after it was fetched; `earlier` is what was saved of it before.

    The fetched answer takes the place of the saved one if it begins with the saved text and is
    complete, or at least as long. Otherwise the saved answer stays. It loses its id, so that it is
    never fetched again, if the server has refused, has sent another answer, or has dropped the
    answer because the user stopped it. It keeps its id if the connection broke.
    """
    stats = fetched.stats or AnswerStats()
    # the times are those of fetching it; only the server's own figures are right
    stats = replace(stats, ttft_ms=None, reasoning_ms=None, elapsed_ms=0.0)
    is_complete = fetched.state is AnswerState.COMPLETE
    begins_the_same = _words(fetched).startswith(_sure_words(earlier))
    is_as_long = len(_words(fetched)) >= len(_words(earlier))
    if begins_the_same and (is_complete or is_as_long):
        return replace(fetched, stats=replace(stats, was_away=is_complete))
    was_refused = fetched.failure is not None and fetched.failure.kind not in _NETWORK_KINDS
    if is_complete or was_refused:  # the server has another answer, or none
        return without_replay(earlier)
    if fetched.state is AnswerState.STOPPED:  # the stop has dropped the answer at the server, too
        return replace(without_replay(earlier), state=fetched.state, failure=None)
    return earlier


def hung_up(answer: ChatMessage) -> ChatMessage:
    """Return an answer as interrupted by the end of its terminal; its server continues it."""
    return interrupted(answer, "The terminal was closed")


def _words(answer: ChatMessage) -> str:
    return answer.reasoning + answer.text


def _sure_words(answer: ChatMessage) -> str:
    """Return the words before a tag at the end, and before the white space there.

    If the tag ends a thought, the splitter of thoughts drops white space before it.
    """
    words = _words(answer)
    tag_start = words.rfind("<", max(len(words) - _UNSURE_CHARS, 0))
    return (words if tag_start < 0 else words[:tag_start]).rstrip()
