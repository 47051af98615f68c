"""Compacting: a summary takes the place of the older messages, on a branch of its own.

The branch begins with the prompt of the summary and the summary, so that every chat template sees prompts and
answers in turn. Copies of the last exchanges follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from lmchat.domain.message import ChatMessage, Role, SentThoughts, TextPart, new_id
from lmchat.domain.session import MessagePath
from lmchat.services.context_meter import PromptSize

COMPACT_FROM = 0.8  # share of the context window from which compacting is offered
_KEPT_EXCHANGES = 2
_MOST_KEPT = (
    0.75  # share of what is sent from which the last exchanges leave too little to summarise
)


def older_part(path: Sequence[ChatMessage], prompt: str) -> MessagePath:
    """Return the messages before the last exchanges; empty if they hold nothing but an earlier summary."""
    prompts = [place for place, message in enumerate(path) if message.role is Role.USER]
    older = path[: prompts[-_KEPT_EXCHANGES]] if len(prompts) > _KEPT_EXCHANGES else ()
    is_new = any(message.role is Role.USER and message.text != prompt for message in older)
    return MessagePath(older if is_new else ())


def makes_room(
    older: MessagePath,
    path: MessagePath,
    tokens: int,
    sent_thoughts: SentThoughts,
) -> bool:
    """Whether a summary of the older messages takes much less room than they; all are `tokens`."""
    return (
        bool(older) and PromptSize.of(path[len(older) :], sent_thoughts).raw <= _MOST_KEPT * tokens
    )


def with_note(summary: ChatMessage, left_out: int) -> ChatMessage:
    """Add how many messages the model did not see."""
    if not left_out:
        return summary
    note = f"\n\n(The first {left_out} messages did not fit into the context window and are not summarised.)"
    return replace(summary, parts=(*summary.parts, TextPart(text=note)))


def compacted(
    older: MessagePath, asked: ChatMessage, summary: ChatMessage, kept: Sequence[ChatMessage]
) -> tuple[ChatMessage, ...]:
    """Return the messages of the new branch; it shares the system prompt if that is the first message."""
    systems = [message for message in older if message.role is Role.SYSTEM][-1:]
    is_shared = systems == list(older[:1])
    parent_id = systems[0].message_id if systems and is_shared else None
    branch: list[ChatMessage] = []
    for message in (*(() if is_shared else systems), asked, summary, *kept):
        is_copy = message is not asked and message is not summary
        receipt = message.receipt and replace(
            message.receipt, prompt_tokens=None
        )  # counted on the old branch
        message_id = new_id() if is_copy else message.message_id
        branch.append(replace(message, message_id=message_id, parent_id=parent_id, receipt=receipt))
        parent_id = message_id
    return tuple(branch)


def compacted_from(path: MessagePath, tree: Sequence[ChatMessage]) -> tuple[str, datetime] | None:
    """Return the last message before a path was compacted, and when that was; None if it was not.

    A compacted path begins with a prompt that is newer than the copies; they have the times of the originals.
    """
    spoken = [message for message in path if message.role is not Role.SYSTEM]
    copies = [message for message in spoken if message.created_at < spoken[0].created_at]
    known = {message.message_id for message in path}
    for message in tree if copies else ():  # an original comes before its copies on other branches
        if message.message_id not in known and _said(message) == _said(copies[-1]):
            return message.message_id, spoken[0].created_at
    return None


def _said(message: ChatMessage) -> tuple[object, ...]:
    return message.role, message.created_at, message.parts
