"""Compacting: a summary takes the place of the older messages, on a branch of its own.

The branch begins with the prompt of the summary and the summary, so that every chat template sees
prompts and answers in turn. Copies of the last exchanges follow.
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
_MAX_KEPT_SHARE = 0.75
"""Share of what is sent from which the last exchanges leave too little to summarise."""


def older_part(path: Sequence[ChatMessage], prompt: str) -> MessagePath:
    """Return the messages before the last exchanges; empty if they are only a summary."""
    prompts = [place for place, message in enumerate(path) if message.role is Role.USER]
    older_prompts = prompts[:-_KEPT_EXCHANGES]
    if all(path[place].text == prompt for place in older_prompts):
        return MessagePath()
    return MessagePath(path[: prompts[-_KEPT_EXCHANGES]])


def makes_room(
    older: MessagePath, path: MessagePath, tokens: int, sent_thoughts: SentThoughts
) -> bool:
    """Whether a summary of the older messages takes much less room than they; all are `tokens`."""
    if not older:
        return False
    kept = PromptSize.of(path[len(older) :], sent_thoughts)
    return kept.raw <= _MAX_KEPT_SHARE * tokens


def with_note(summary: ChatMessage, left_out: int) -> ChatMessage:
    """Add how many messages the model did not see."""
    if not left_out:
        return summary
    note = (
        f"\n\n(The first {left_out} messages did not fit into the context window "
        "and are not summarised.)"
    )
    return replace(summary, parts=(*summary.parts, TextPart(text=note)))


def compacted(
    older: MessagePath, prompt: ChatMessage, summary: ChatMessage, kept: Sequence[ChatMessage]
) -> tuple[ChatMessage, ...]:
    """Return the messages of the new branch: the prompt, the summary, and copies of the kept ones.

    The system prompt is shared with the old branch if it is the first message, else copied.
    """
    systems = [message for message in older if message.role is Role.SYSTEM][-1:]
    parent_id = None
    copied: list[ChatMessage] = []
    if systems == list(older[:1]):
        parent_id = systems[0].message_id if systems else None
    else:
        copied = systems
    branch: list[ChatMessage] = []
    for message in (*copied, prompt, summary, *kept):
        is_copy = message is not prompt and message is not summary
        message_id = new_id() if is_copy else message.message_id
        receipt = message.receipt
        if receipt is not None:  # prompt tokens were counted on the old branch
            receipt = replace(receipt, prompt_tokens=None)
        branch.append(replace(message, message_id=message_id, parent_id=parent_id, receipt=receipt))
        parent_id = message_id
    return tuple(branch)


def compacted_from(path: MessagePath, tree: Sequence[ChatMessage]) -> tuple[str, datetime] | None:
    """Return the last message before a path was compacted, and when that was; None if it was not.

    A compacted path begins with a prompt that is newer than the copies; they have the times of the
    originals.
    """
    spoken = [message for message in path if message.role is not Role.SYSTEM]
    copies = [message for message in spoken if message.created_at < spoken[0].created_at]
    if not copies:
        return None
    last_copy = _content(copies[-1])
    on_path = {message.message_id for message in path}
    for message in tree:  # an original comes before its copies on other branches
        if message.message_id not in on_path and _content(message) == last_copy:
            return message.message_id, spoken[0].created_at
    return None


def _content(message: ChatMessage) -> tuple[object, ...]:
    """Return what a message and its copies have in common."""
    return message.role, message.created_at, message.parts
