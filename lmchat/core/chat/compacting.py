"""Compacting: a summary takes the place of the older messages, on a branch of its own.

Its prompt comes first, as some chat templates take only prompts and answers in turn. Copies of the
last exchanges (a prompt and what answers it) follow.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from lmchat.base.errors import LMChatError, RequestInvalid, StillAnswering
from lmchat.base.safe_text import safe_line
from lmchat.core.chat.context import select_context
from lmchat.core.chat.turn_starts import TurnStart
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Role,
    SentThoughts,
    is_whole_end,
    new_id,
    text_message,
)
from lmchat.core.sessions.session import MessagePath

COMPACT_FROM = 0.8  # of the context window
_RECENT_EXCHANGES = 2
_MAX_RECENT_SHARE = 0.75
"""With a larger share of recent exchanges, a summary makes no room."""


def compacting_start(
    path: MessagePath, *, prompt: str, tokens: int, sent_thoughts: SentThoughts
) -> TurnStart:
    """Start a turn, beside the session, that summarises all but the last two exchanges.

    `tokens` is `ContextUse.tokens`. Raises `RequestInvalid` if there would be no more room, or if
    the last answer is streaming, perhaps in another lmchat.
    """
    if path and path[-1].state is AnswerState.STREAMING:
        raise StillAnswering
    prompt_indexes = [
        index
        for index, message in enumerate(path)
        if message.role is Role.USER and not message.is_excluded
    ]
    next_step = "A summary takes the place of all but the last two prompts and answers."
    summarised_indexes = prompt_indexes[:-_RECENT_EXCHANGES]
    # none, or only prompts for earlier summaries
    if all(path[index].text == prompt for index in summarised_indexes):
        raise RequestInvalid("There are no older messages to summarise yet.", next_step=next_step)
    older = path.before(prompt_indexes[-_RECENT_EXCHANGES])
    # raw estimates are exact enough for this limit
    recent = select_context(path[len(older) :], limit=None, sent_thoughts=sent_thoughts)
    if recent.raw_text + recent.raw_thoughts > _MAX_RECENT_SHARE * tokens:
        raise RequestInvalid(
            "A summary would make no room: the last prompts and answers take most of it.",
            next_step=next_step,
        )
    request = text_message(Role.USER, prompt, parent_id=older.leaf_id)
    return TurnStart(path=older, prompts=(request,))


def compacted_branch(
    path: MessagePath, start: TurnStart, answer: ChatMessage
) -> tuple[ChatMessage, ...]:
    """Return the new branch of a path; raises `LMChatError` without a whole summary.

    The last system prompt stays in force. Stats lose their prompt tokens, counted for the old
    branch.
    """
    next_step = "Nothing has changed; /compact tries again."
    if answer.failure is not None:
        raise LMChatError(answer.failure.message, next_step=next_step, kind=answer.failure.kind)
    if not answer.text.strip():
        raise LMChatError("The model wrote no summary.", next_step=next_step)
    if answer.refusal:
        raise LMChatError("The model refused to write a summary.", next_step=next_step)
    ended = answer.stats or AnswerStats()
    if answer.state is not AnswerState.COMPLETE or not is_whole_end(ended.finish_reason):
        reason = safe_line(ended.ending or ended.finish_reason or answer.state.value)
        if ended.is_cut:
            next_step = "Nothing has changed; use a larger context window, then /compact again."
        raise LMChatError(f"The summary is not complete ({reason}).", next_step=next_step)

    first = path[0]
    parent_id: str | None = None
    system = [
        message for message in start.path if message.role is Role.SYSTEM and not message.is_excluded
    ][-1:]
    if first in system:
        system = []
        parent_id = first.message_id
    copies = _copies(path[len(start.path) :])
    branch: list[ChatMessage] = []
    for message in (*_copies(system), start.prompts[0], answer, *copies):
        branch.append(
            replace(
                message,
                parent_id=parent_id,
                stats=message.stats and replace(message.stats, prompt_tokens=None),
            )
        )
        parent_id = message.message_id
    return tuple(branch)


def _copies(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    return [replace(message, message_id=new_id()) for message in messages]
