"""Import of Open WebUI's JSON exports, checked with version 0.12.4.

A chat has messages by id, in `history.messages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmchat.formats.file_values import Record, record_in, text_in, time_of
from lmchat.formats.foreign import ForeignChat, JsonFormat, MessageMetadata
from lmchat.formats.open_webui_messages import message_parts
from lmchat.formats.text_files import TextFile


def fits(value: Record) -> bool:
    """Return whether an object of a file is a chat: whether it has messages by their ids."""
    return isinstance(_messages_by_id(value), dict)


def read(value: Record, _: TextFile) -> Iterator[ForeignChat]:
    """Yield the chat in an object of an export; nothing for one that Open WebUI marks as internal.

    In some exports, the object has the fields of a row of the database, and its field `chat` holds
    the messages; in others, it is that inner object alone. A message that is no object is counted
    as damaged.
    """
    if record_in(value, "meta").get("internal"):
        return
    content = value.get("chat", value)
    chat = ForeignChat(
        key=text_in(value, "id") or text_in(content, "id") or str(content.get("timestamp")),
        title=text_in(value, "title") or text_in(content, "title"),
        path_end=text_in(value, "current_message_id")
        or text_in(record_in(content, "history"), "currentId"),
        created_at=time_of(value.get("created_at")),
        updated_at=time_of(value.get("updated_at")),
        system=text_in(content.get("params"), "system") or text_in(content, "system"),
        is_archived=bool(value.get("archived")),
        is_pinned=bool(value.get("pinned")),
    )
    for key, stored_message in _messages_by_id(value).items():
        message: Record = stored_message if isinstance(stored_message, dict) else {}
        metadata = MessageMetadata(
            created_at=time_of(message.get("timestamp")), model=text_in(message, "model")
        )
        parts = message_parts(message, chat)
        parent = message.get("parentId")
        chat.add(key, text_in(message, "role"), parts, parent=parent, metadata=metadata)
    yield chat


def _messages_by_id(value: Record) -> Any:
    """Return the messages of a chat: an object in every valid export, else None or anything."""
    return record_in(value.get("chat", value), "history").get("messages")


FORMATS = (JsonFormat(fits=fits, read=read),)
