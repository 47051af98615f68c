"""Rewritten answers: versions of an answer whose text the user has changed."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import (
    EDITED,
    AnswerState,
    ChatMessage,
    Role,
    TextPart,
    new_id,
    now,
)
from lmchat.errors import RequestInvalid


def rewritten(old: ChatMessage, text: str) -> ChatMessage:
    """Return another version of an answer, with a text by the user.

    It does not get the thought of the old answer. This thought led to other words, and would be
    sent back to the model (R-45) as if it had led to these. Raises `RequestInvalid` for a blank
    text, and for a message that is no answer, or an answer with tool calls.
    """
    if not text.strip():
        raise RequestInvalid("An answer cannot be empty.", hint="Type a text.")
    if old.role is not Role.ASSISTANT or old.tool_calls:
        raise RequestInvalid("Only answers without tool calls can be rewritten.")
    version = old.versions + 1
    return replace(
        old,
        message_id=new_id(),
        parts=(TextPart(text=text),),
        created_at=now(),
        state=AnswerState.COMPLETE,
        receipt=EDITED,
        failure=None,
        version=version,
        versions=version,
        is_excluded=False,
    )


def without_blank_end(answer: ChatMessage) -> ChatMessage:
    """Return a rewritten answer without blanks at its end, to be continued (R-43).

    The model writes the blank before its next word itself.
    """
    return replace(answer, parts=(TextPart(text=answer.text.rstrip()),))


class Rewriting(Struct, frozen=True, kw_only=True):
    """A rewritten answer on a path, perhaps one that the model has continued."""

    answer: ChatMessage
    earlier_id: str
    """The version that was written before it; `/undo` goes back to it.

    It may be another one than the rewritten one was made of, which is not saved.
    """


def newest_rewriting(path: Sequence[ChatMessage], tree: Sequence[ChatMessage]) -> Rewriting | None:
    """Return the last rewritten answer on a path that has an earlier version; None without one.

    `tree` has the messages of all branches, oldest first.
    """
    for answer in reversed(path):
        if answer.receipt is None or not answer.receipt.is_edited:
            continue
        key = (answer.parent_id, answer.role)  # the same for all versions
        ids = [other.message_id for other in tree if (other.parent_id, other.role) == key]
        has_earlier = answer.message_id in ids[1:]
        if has_earlier:
            earlier_id = ids[ids.index(answer.message_id) - 1]
            return Rewriting(answer=answer, earlier_id=earlier_id)
    return None
