"""The answers of an open session that another lmchat writes: what has come of them, and how they ended."""

from __future__ import annotations

from itertools import islice

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage
from lmchat.services.conversation import Conversation
from lmchat.services.ports import SessionStore

_LOOKED_AT = 64
"""Newest messages of a path among which such an answer can be: nobody says more while one comes."""


def written_elsewhere(conversation: Conversation) -> tuple[ChatMessage, ...]:
    """Return the answers on the path that are on their way, and not from here; mostly there are none."""
    own = conversation.running
    return tuple(
        message
        for message in islice(reversed(conversation.messages), _LOOKED_AT)
        if message.state is AnswerState.STREAMING and (own is None or own.message_id != message.message_id)
    )


async def news(conversation: Conversation, store: SessionStore) -> tuple[ChatMessage, ...]:
    """Look at those answers on the disk; put into the path, and return, those that are other than before.

    Raises:
        LMChatError: the disk cannot be read now.
    """
    session_id = conversation.header.session_id
    found = []
    for known in written_elsewhere(conversation):
        now = await store.answer_now(session_id, known.message_id)
        if now is None:  # it was deleted there: nothing more comes to be seen here
            now = replace(known, state=AnswerState.STOPPED)
        if now != known and known in written_elsewhere(conversation):
            conversation.messages = conversation.messages.replaced(now)
            found.append(now)
    return tuple(found)
