"""Answers that their servers have continued while lmchat was away (R-42).

A server keeps a running or interrupted answer under an id, `AnswerStats.replay_id`. When lmchat
fetches a kept answer, it begins at the first byte and builds the text again. So the text is exact,
however much of it was saved.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import ModelInfo
from lmchat.servers.request import ChatRequest
from lmchat.servers.target import Target
from lmchat.sessions.message import AnswerState, AnswerStats, ChatMessage

_UNSURE_CHARS = 64
"""Last saved characters, which are not compared: half a tag may have been taken for words there."""


def kept_answer(path: Sequence[ChatMessage]) -> ChatMessage | None:
    """Return the last message of a path if it is an answer that its server may have continued."""
    last = path[-1] if path else None
    # a failed answer broke off before its first text; the server may have continued it, too
    if last is None or last.state not in (AnswerState.INTERRUPTED, AnswerState.FAILED):
        return None
    return last if replay_id_of(last) else None


def target_of_kept(answer: ChatMessage) -> Target:
    """Return the server and the model of a kept answer."""
    endpoint = Endpoint.parse(answer.endpoint)
    product = answer.stats.product if answer.stats else ""
    return Target.of(ModelInfo(model_id=answer.model, endpoint=endpoint, product=product))


def replay_request(answer: ChatMessage) -> ChatRequest:
    """Return the request that fetches a kept answer."""
    target = target_of_kept(answer)
    return ChatRequest(
        endpoint=target.endpoint,
        product=target.product,
        model=target.model_id,
        messages=(),  # the server has them from the first request
        replay_id=replay_id_of(answer),
        fetches_kept=True,
    )


def replay_id_of(answer: ChatMessage) -> str:
    """Return the id under which a server keeps an answer; empty if none does."""
    return answer.stats.replay_id if answer.stats else ""


def without_replay(answer: ChatMessage) -> ChatMessage:
    """Return an answer without the id under which a server has kept it."""
    return replace(answer, stats=replace(answer.stats or AnswerStats(), replay_id=""))


def joined_answer(fetched: ChatMessage, earlier: ChatMessage) -> ChatMessage:
    """Return an answer after it was fetched; `earlier` is what was saved of it before.

    If the fetched answer begins like the saved one, and is complete or at least as long, it takes
    the place of the saved one. Otherwise the saved answer stays, and can be fetched again unless
    the user has stopped it.
    """
    is_complete = fetched.state is AnswerState.COMPLETE  # else the fetching has not reached its end
    fetched_words = fetched.reasoning + fetched.text
    earlier_words = earlier.reasoning + earlier.text
    # false if the server has dropped the beginning of a very long answer. The last characters that
    # were saved are not compared: half a tag of a thought may have been taken for words there
    begins_the_same = fetched_words.startswith(earlier_words[:-_UNSURE_CHARS])
    if begins_the_same and (is_complete or len(fetched_words) >= len(earlier_words)):
        # the times are those of fetching it; only the server's own figures are right
        stats = replace(
            fetched.stats or AnswerStats(),
            ttft_ms=None,
            reasoning_ms=None,
            elapsed_ms=0.0,
            was_away=is_complete,
        )
        return replace(fetched, stats=stats)
    if fetched.state is AnswerState.STOPPED:  # the stop has dropped the answer at the server, too
        return replace(without_replay(earlier), state=fetched.state, failure=None)
    return earlier
