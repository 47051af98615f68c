"""Import of Open WebUI's JSON exports and its database, checked with version 0.12.4."""

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
    MessageFacts,
)
from lmchat.formats.foreign_database import ForeignDatabase
from lmchat.formats.open_webui_messages import message_pieces
from lmchat.formats.text_files import TextFile

# Links to a chat are copies of it.
_CHATS = (
    "select rowid as number, id from chat where coalesce(user_id, '') not like 'shared-%'"
    " order by created_at, id"
)
_FIELDS = {"parent_id": "parentId", "model_id": "model", "created_at": "timestamp", "role": "role"}
"""Fields of a message in JSON by their columns."""
_JSON_COLUMNS = ("content", "output", "files")


def fits(value: Record) -> bool:
    """Return whether a value is a chat of an export."""
    return isinstance(_messages(value), dict)


def read(value: Record, _: TextFile) -> Iterator[ForeignChat]:
    """Read a chat, with or without the row of the database around it."""
    yield from _chats(value, _messages(value))


def _chats(value: Record, messages: Mapping[str, Any]) -> Iterator[ForeignChat]:
    """Read a chat; those that the program only uses itself are left out."""
    if record_in(value, "meta").get("internal"):
        return
    about = value.get("chat", value)
    chat = ForeignChat(
        key=text_in(value, "id") or text_in(about, "id") or str(about.get("timestamp")),
        title=text_in(value, "title") or text_in(about, "title"),
        current=text_in(value, "current_message_id")
        or text_in(record_in(about, "history"), "currentId"),
        created_at=time_of(value.get("created_at")),
        updated_at=time_of(value.get("updated_at")),
        system=text_in(about.get("params"), "system") or text_in(about, "system"),
        is_archived=bool(value.get("archived")),
        is_pinned=bool(value.get("pinned")),
    )
    for key, found in messages.items():
        message: Record = found if isinstance(found, dict) else {}
        facts = MessageFacts(
            created_at=time_of(message.get("timestamp")), model=text_in(message, "model")
        )
        pieces = message_pieces(message, chat)
        parent = message.get("parentId")
        chat.add(key, text_in(message, "role"), pieces, parent=parent, facts=facts)
    yield chat


def read_database(database: ForeignDatabase) -> ChatReaders:
    """Read each chat; its rows of messages are newer than the messages in the chat."""
    messages = database.rows_by("chat_message", "chat_id", "created_at, rowid")
    for row in database.rows(_CHATS):
        yield partial(_stored_chat, database, row["number"], messages(row["id"]))


def _stored_chat(
    database: ForeignDatabase, number: int, rows: Iterator[Record]
) -> Iterator[ForeignChat]:
    (row,) = database.rows("select * from chat where rowid = :number", number=number)
    decoded = {name: json_of(row.get(name)) for name in ("chat", "meta")}
    row |= {name: record_in(decoded, name) for name in decoded}
    messages = record_in(record_in(row["chat"], "history"), "messages")
    for message in rows:
        key = str(message["id"]).removeprefix(f"{row['id']}-")
        messages[key] = record_in(messages, key) | _row_fields(message)
    by_time = sorted(messages.items(), key=lambda item: number_in(item[1], "timestamp"))
    for chat in _chats(row, dict(by_time)):
        chat.omitted["damaged record"] += not isinstance(decoded["chat"], dict)
        yield chat


def _row_fields(row: Record) -> Record:
    """Return the filled columns of a message as fields in JSON; a damaged row has none."""
    try:
        fields = {field: row[column] for column, field in _FIELDS.items()}
        fields |= {name: json.loads(row[name] or "null") for name in _JSON_COLUMNS}
    except BAD_VALUE_ERRORS:
        return {}
    return {name: value for name, value in fields.items() if value is not None}


def _messages(value: Record) -> Any:
    """Return the messages of a chat by their ids, if it has some."""
    return record_in(value.get("chat", value), "history").get("messages")


FORMATS = (
    JsonFormat(fits=fits, read=read),
    DatabaseFormat(tables={"chat": ("chat", "user_id", "updated_at")}, read=read_database),
)
