"""Answers that their servers have continued while lmchat was away (R-42).

A server keeps a running or interrupted answer under an id, `ChatMessage.replay_id`. When lmchat
fetches a kept answer (`ChatService.fetch_kept`), it begins at the first byte and builds the text
again. So the text is exact, however much of it was saved.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.chat.open_session import OpenSession
from lmchat.chat.save_queue import SaveQueue
from lmchat.chat.turn_choices import TurnSettings
from lmchat.errors import LMChatError
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import ModelInfo
from lmchat.servers.protocols import AnswerSource
from lmchat.servers.request import ChatRequest, Sampling
from lmchat.servers.target import Target
from lmchat.sessions.message import AnswerState, ChatMessage, without_replay


async def find_kept(
    opened: OpenSession, backend: AnswerSource, save_queue: SaveQueue
) -> ChatMessage | None:
    """Return the last answer of a session if its server keeps it, so that it can be fetched.

    Return None if there is no such answer, if its server cannot be asked now, or if a turn has
    begun in the meantime. If the server does not know the answer any more, return None, too. The
    message then loses its `replay_id`, so that the server is not asked again.
    """
    kept = _last_if_kept(opened.messages)
    if kept is None:
        return None
    try:
        is_kept = await backend.has_kept_answer(replay_request(kept))
    except LMChatError:
        return None
    # all may have changed while the server was asked
    if opened.is_busy or _last_if_kept(opened.messages) is not kept:
        return None
    if is_kept:
        return kept
    forgotten = without_replay(kept)
    opened.replace(forgotten)
    await save_queue.save(opened.header, forgotten)
    return None


def _last_if_kept(path: Sequence[ChatMessage]) -> ChatMessage | None:
    """Return the last message of a path if it is an answer that its server may have continued."""
    last = path[-1] if path else None
    # a failed answer broke off before its first text; the server may have continued it, too
    if last is None or last.state not in (AnswerState.INTERRUPTED, AnswerState.FAILED):
        return None
    return last if last.replay_id else None


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
        replay_id=answer.replay_id,
        fetches_kept=True,
    )


def settings_of_kept(answer: ChatMessage) -> TurnSettings:
    """Return the settings of the turn that fetches a kept answer."""
    # the server has the request, so these options are not sent, but saved with the answer again
    sent = answer.stats.sampling if answer.stats is not None else {}
    return TurnSettings(target=target_of_kept(answer), sampling=Sampling().with_options(sent))
