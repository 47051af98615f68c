"""Import of Open WebUI's JSON exports and its database, checked with version 0.12.4."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from lmchat.formats.checks import WRONG, as_word, number_in, row_in, word
from lmchat.formats.foreign import Chats, ForeignChat, time_of
from lmchat.formats.json_stream import NO_JSON
from lmchat.formats.open_webui_answers import steps
from lmchat.formats.sources import ForeignDatabase, Row, Source

SOURCE = "openwebui"
# Links to a chat are copies of it.
_CHATS = (
    "select rowid as number, id from chat where coalesce(user_id, '') not like 'shared-%'"
    " order by created_at, id"
)
_COLUMNS = {"parent_id": "parentId", "model_id": "model", "created_at": "timestamp", "role": "role"}


def fits(value: Row) -> bool:
    """Return whether a value is a chat of an export."""
    return isinstance(_history(value), dict)


def read(value: Row, _: Source | None = None) -> Iterator[ForeignChat]:
    """Read a chat, with or without the row of the database around it."""
    about = value.get("chat", value)
    if row_in(value, "meta").get("internal"):
        return
    chat = ForeignChat(
        source=SOURCE,
        key=word(value, "id") or word(about, "id") or str(about.get("timestamp")),
        title=word(value, "title") or word(about, "title"),
        current=word(value, "current_message_id") or word(about["history"], "currentId"),
        created_at=time_of(value.get("created_at")),
        updated_at=time_of(value.get("updated_at")),
        system=word(about.get("params"), "system") or word(about, "system"),
        is_archived=bool(value.get("archived")),
        is_pinned=bool(value.get("pinned")),
    )
    for key, message in _history(value).items():
        one: Row = message if isinstance(message, dict) else {}
        time, model = time_of(one.get("timestamp")), word(one, "model")
        made = steps(one, chat)
        chat.add(
            key, word(one, "role"), made, parent=one.get("parentId"), created_at=time, model=model
        )
    yield chat


def fits_database(database: ForeignDatabase) -> bool:
    """Return whether a database is Open WebUI's."""
    return database.has("chat", "chat", "user_id", "updated_at")


def read_database(database: ForeignDatabase) -> Chats:
    """Read each chat; rows of messages, where there are some, are newer than what the chat holds of them."""
    messages = database.rows_by("chat_message", "chat_id", "created_at, rowid")
    for row in database.rows(_CHATS):
        yield partial(_stored, database, row["number"], messages(row["id"]))


def _stored(database: ForeignDatabase, number: int, rows: Iterator[Row]) -> Iterator[ForeignChat]:
    (row,) = database.rows("select * from chat where rowid = :number", number=number)
    stored = _json_object(row["chat"])
    is_damaged = stored is None
    stored = stored or {}
    row |= {"chat": stored, "meta": _json_object(row.get("meta")) or {}}
    messages = row_in(row_in(stored, "history"), "messages")
    for one in rows:
        key = str(one["id"]).removeprefix(f"{row['id']}-")
        messages[key] = row_in(messages, key) | _message(one)
    messages = dict(sorted(messages.items(), key=lambda item: number_in(item[1], "timestamp")))
    stored["history"] = row_in(stored, "history") | {"messages": messages}
    for chat in read(row):
        chat.omitted["damaged record"] += is_damaged
        yield chat


def _json_object(text: object) -> Row | None:
    """Return the object of a column; None if it is damaged."""
    with suppress(*NO_JSON):
        if isinstance(value := json.loads(as_word(text)), dict):
            return value
    return None


def _message(row: Row) -> Row:
    """Return the filled columns of a message as its fields; none of a damaged row."""
    try:
        fields = {field: row[column] for column, field in _COLUMNS.items()}
        fields |= {name: json.loads(row[name] or "null") for name in ("content", "output", "files")}
    except WRONG:
        return {}
    return {name: value for name, value in fields.items() if value is not None}


def _history(row: Row) -> Any:
    """Return the messages of a chat by id."""
    chat = row.get("chat", row)
    history = chat.get("history") if isinstance(chat, dict) else None
    return history.get("messages") if isinstance(history, dict) else None
