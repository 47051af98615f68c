"""Import of Open WebUI's JSON exports and its database, checked with version 0.12.4."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import Content, word
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignMessage,
    each_chat,
    foreign_session,
    left_out,
    message_rows,
    time_of,
)
from lmchat.formats.open_webui_answers import steps
from lmchat.formats.sources import Tables

SOURCE = "openwebui"
# Links to a chat are copies of it.
_CHATS = "select id from chat where coalesce(user_id, '') not like 'shared-%' order by created_at, id"
_MESSAGES = "select * from chat_message where chat_id = ? order by created_at, rowid"
Row = dict[str, Any]


def fits(content: Content) -> bool:
    """Return whether a value is a chat of an export, or those of a file with a chat in each line."""
    return any(isinstance(one, dict) and isinstance(_history(one), dict) for one in _values(content))


def read(content: Content) -> Iterator[Session | Skipped]:
    """Read the chats of an export."""
    yield from each_chat(_values(content), partial(_chat, moment=content.moment))


def fits_database(tables: Tables) -> bool:
    """Return whether a database is Open WebUI's."""
    return {"chat", "user_id", "updated_at"} <= tables.get("chat", set())


def read_database(connection: sqlite3.Connection, moment: datetime) -> Iterator[Session | Skipped]:
    """Read each chat; rows of messages, where there are some, are newer than what the chat holds of them."""
    has_rows = bool(connection.execute("select 1 from sqlite_master where name = 'chat_message'").fetchone())

    def chat(found: sqlite3.Row) -> Iterator[Session | Skipped]:
        row = dict(connection.execute("select * from chat where id = ?", (found["id"],)).fetchone())
        row |= {"chat": json.loads(row["chat"]), "meta": json.loads(row.get("meta") or "{}")}
        messages = _history(row) or {}
        for one in connection.execute(_MESSAGES, (row["id"],)).fetchall() if has_rows else ():
            key = one["id"].removeprefix(f"{row['id']}-")
            messages[key] = messages.get(key, {}) | _stored(one)
        messages = dict(sorted(messages.items(), key=lambda item: item[1].get("timestamp") or 0))
        row["chat"]["history"] = {"currentId": None, **row["chat"].get("history", {}), "messages": messages}
        yield from _chat(row, moment)

    yield from each_chat(connection.execute(_CHATS).fetchall(), chat)


def _stored(row: sqlite3.Row) -> Row:
    """Return the filled columns of a message as its fields."""
    fields = {
        "parentId": row["parent_id"],
        "model": row["model_id"],
        "timestamp": row["created_at"],
        "role": row["role"],
    }
    fields |= {name: json.loads(row[name] or "null") for name in ("content", "output", "files")}
    return {name: value for name, value in fields.items() if value is not None}


def _values(content: Content) -> list[Any]:
    return content.value if isinstance(content.value, list) else [content.value]


def _history(row: Row) -> Any:
    """Return the messages of a chat by id, with or without the row of the database around it."""
    chat = row.get("chat", row)
    history = chat.get("history") if isinstance(chat, dict) else None
    return history.get("messages") if isinstance(history, dict) else None


def _chat(row: Row, moment: datetime) -> Iterator[Session | Skipped]:
    chat = row.get("chat", row)
    if (row.get("meta") or {}).get("internal"):
        return
    others: Counter[str] = Counter()
    rows: list[ForeignMessage] = []
    for key, message in _history(row).items():
        one: Row = message if isinstance(message, dict) else {}
        facts = {"created_at": time_of(one.get("timestamp")), "model": word(one, "model")}
        rows += message_rows(
            key, one.get("parentId"), one.get("role"), partial(steps, one, others), others, **facts
        )
    title = word(row, "title") or word(chat, "title")
    yield from left_out(title, others)
    head = ForeignChat(
        source=SOURCE,
        key=word(row, "id") or word(chat, "id") or str(chat.get("timestamp")),
        title=title,
        current=word(row, "current_message_id") or word(chat["history"], "currentId"),
        created_at=time_of(row.get("created_at")),
        updated_at=time_of(row.get("updated_at")),
        system=word(chat.get("params"), "system") or word(chat, "system"),
        is_archived=bool(row.get("archived")),
        is_pinned=bool(row.get("pinned")),
    )
    yield foreign_session(head, rows, moment=moment)
