"""Import of Open WebUI's JSON exports and its database, checked with version 0.12.4.

A chat has messages by id in its JSON, in `history.messages`. The database has them also as rows of
the table `chat_message`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from lmchat.formats.file_values import (
    BAD_VALUE_ERRORS,
    Record,
    json_of,
    number_in,
    record_in,
    text_in,
    time_of,
)
from lmchat.formats.foreign import (
    ChatReaders,
    DatabaseFormat,
    ForeignChat,
    JsonFormat,
    MessageMetadata,
)
from lmchat.formats.foreign_database import ForeignDatabase
from lmchat.formats.open_webui_messages import message_parts
from lmchat.formats.text_files import TextFile

# Without the chats of users `shared-…`: these are copies, made for links to a chat.
_CHATS = (
    "select rowid as number, id from chat where coalesce(user_id, '') not like 'shared-%'"
    " order by created_at, id"
)
_FIELDS_BY_COLUMN = {
    "parent_id": "parentId",
    "model_id": "model",
    "created_at": "timestamp",
    "role": "role",
}
"""Fields of a message in a chat's JSON by the columns of a row of `chat_message`."""
_JSON_COLUMNS = ("content", "output", "files")  # columns with JSON; their fields have these names


def fits(value: Record) -> bool:
    """Return whether an object of a file is a chat: whether it has messages by their ids."""
    return isinstance(_messages_by_id(value), dict)


def read(value: Record, _: TextFile) -> Iterator[ForeignChat]:
    """Yield the chat in an object of an export.

    In some exports, the object has the fields of a row of the database, and its field `chat` holds
    the messages; in others, it is that inner object alone.
    """
    yield from _read_chat(value, _messages_by_id(value))


def _read_chat(value: Record, messages: Mapping[str, Any]) -> Iterator[ForeignChat]:
    """Yield the chat of a value, with `messages` by their ids.

    `value` is an object of an export, or a row of the table `chat` with its JSON decoded. Yield
    nothing for a chat that Open WebUI marks as internal. A message that is no object is counted as
    damaged.
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
    for key, stored_message in messages.items():
        message: Record = stored_message if isinstance(stored_message, dict) else {}
        metadata = MessageMetadata(
            created_at=time_of(message.get("timestamp")), model=text_in(message, "model")
        )
        parts = message_parts(message, chat)
        parent = message.get("parentId")
        chat.add(key, text_in(message, "role"), parts, parent=parent, metadata=metadata)
    yield chat


def read_database(database: ForeignDatabase) -> ChatReaders:
    """Yield a function for each chat, which reads it with its rows of the table `chat_message`."""
    rows_of = database.rows_by("chat_message", "chat_id", "created_at, rowid")
    for row in database.rows(_CHATS):
        yield partial(_read_stored_chat, database, row["number"], rows_of(row["id"]))


def _read_stored_chat(
    database: ForeignDatabase, number: int, message_rows: Iterator[Record]
) -> Iterator[ForeignChat]:
    """Yield the chat of the row of the table `chat` with this number, its oldest message first.

    The fields of a message in `message_rows` replace those in the chat's JSON, which may be older.
    If the JSON is damaged, the messages of the rows are read, and a damaged record is counted.
    """
    (row,) = database.rows("select * from chat where rowid = :number", number=number)
    chat_json = json_of(row.get("chat"))
    row["chat"] = chat_json if isinstance(chat_json, dict) else {}
    row["meta"] = json_of(row.get("meta"))

    messages = record_in(record_in(row["chat"], "history"), "messages")
    for message_row in message_rows:
        # The id of a row is that of the chat, a hyphen, and that of the message.
        key = str(message_row["id"]).removeprefix(f"{row['id']}-")
        messages[key] = record_in(messages, key) | _message_fields(message_row)
    by_time = sorted(messages.items(), key=lambda item: number_in(item[1], "timestamp"))
    for chat in _read_chat(row, dict(by_time)):
        if not isinstance(chat_json, dict):
            chat.omitted["damaged record"] += 1
        yield chat


def _message_fields(row: Record) -> Record:
    """Return the columns of a row of `chat_message` under the names that fields have in JSON.

    Empty columns are left out, and all columns of a row that is damaged.
    """
    try:
        fields = {field: row[column] for column, field in _FIELDS_BY_COLUMN.items()}
        fields |= {name: json.loads(row[name] or "null") for name in _JSON_COLUMNS}
    except BAD_VALUE_ERRORS:
        return {}
    return {name: value for name, value in fields.items() if value is not None}


def _messages_by_id(value: Record) -> Any:
    """Return the messages of a chat: an object in every valid export, else None or anything."""
    return record_in(value.get("chat", value), "history").get("messages")


FORMATS = (
    JsonFormat(fits=fits, read=read),
    DatabaseFormat(tables={"chat": ("chat", "user_id", "updated_at")}, read=read_database),
)
