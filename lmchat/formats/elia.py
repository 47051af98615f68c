"""Import of elia's database, as its version 1.10 writes it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lmchat.formats.foreign import Chats, ForeignChat, time_of
from lmchat.formats.sources import ForeignDatabase, Row

SOURCE = "elia"


def fits(database: ForeignDatabase) -> bool:
    """Return whether a database is elia's."""
    return database.has("message", "chat_id", "role", "content", "meta") and database.has(
        "chat", "started_at"
    )


def read(database: ForeignDatabase) -> Chats:
    """Read each chat; its messages are a row, unless they name their parents."""
    messages = database.rows_by("message", "chat_id")
    for row in database.rows("select * from chat order by id"):
        yield partial(_chat, row, messages(row["id"]))


def _chat(row: Row, messages: Iterator[Row]) -> Iterator[ForeignChat]:
    chat = ForeignChat(
        source=SOURCE,
        key=f"{row['id']} {row['started_at']}",  # each database counts from 1
        title=row["title"],
        created_at=time_of(row["started_at"]),
        model=row["model"],
        is_archived=bool(row["archived"]),
    )
    for one in messages:
        parent = chat.last if one["parent_id"] is None else str(one["parent_id"])
        model, time = one["model"] or row["model"], time_of(one["timestamp"])
        chat.add(
            str(one["id"]),
            one["role"],
            [one["content"]],
            parent=parent,
            created_at=time,
            model=model,
        )
    yield chat
