"""Messages that the user takes out of all requests; they stay in the session."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile

from msgspec.structs import replace

from lmchat.chat.conversation import Conversation
from lmchat.chat.events import still_answering_error
from lmchat.chat.save_queue import SaveQueue
from lmchat.sessions.message import ChatMessage, Role
from lmchat.sessions.session import MessagePath


def messages_together(path: Sequence[ChatMessage], message_id: str) -> list[ChatMessage]:
    """Return the messages that are taken out together with one; an empty list for an unknown one.

    They are an answer with tool calls and all its results. Any other message is alone.
    """
    ids = [message.message_id for message in path]
    if message_id not in ids:
        return []
    first = ids.index(message_id)
    while first > 0 and path[first].role is Role.TOOL:  # back to the answer with the calls
        first -= 1
    results = takewhile(lambda message: message.role is Role.TOOL, path[first + 1 :])
    return [path[first], *results]


async def set_excluded(
    conversation: Conversation,
    save_queue: SaveQueue,
    message_ids: Collection[str],
    *,
    is_excluded: bool,
) -> list[ChatMessage]:
    """Take messages out of requests, or put them back, on the disk and on the path.

    Return the changed messages of the path. If the disk fails, the error is raised, and nothing has
    changed. Raises `RequestInvalid` while an answer is running, which may need the messages.
    """
    if conversation.is_running:
        raise still_answering_error()
    await save_queue.write_unsaved()  # only messages on the disk can be marked there
    session_id = conversation.header.session_id
    await save_queue.store.set_excluded(session_id, list(message_ids), is_excluded=is_excluded)

    path: list[ChatMessage] = []
    changed: list[ChatMessage] = []
    for message in conversation.messages:
        if message.message_id not in message_ids:
            path.append(message)
            continue
        changed.append(replace(message, is_excluded=is_excluded))
        path.append(changed[-1])
    conversation.messages = MessagePath(path)
    return changed
