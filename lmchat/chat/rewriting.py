"""Rewritten answers: versions of an answer whose text the user has changed."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.errors import RequestInvalid
from lmchat.sessions.message import EDITED, AnswerState, ChatMessage, Role, TextPart, new_id, now


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
        stats=EDITED,
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
