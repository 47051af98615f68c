"""Import of elia's database, as its version 1.10 writes it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from lmchat.domain.session import Session, Skipped
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignMessage,
    each_chat,
    foreign_session,
    left_out,
    message_rows,
    said,
    time_of,
)
from lmchat.formats.sources import Tables, numbered, numbers_by

SOURCE = "elia"
_CHATS = "select * from chat order by id"


def fits(tables: Tables) -> bool:
    """Return whether a database is elia's."""
    return {"chat_id", "role", "content", "meta"} <= tables.get(
        "message", set()
    ) and "started_at" in tables.get("chat", set())


def read(connection: sqlite3.Connection, moment: datetime) -> Iterator[Session | Skipped]:
    """Read each chat; its messages are a row, unless they name their parents."""
    messages = numbers_by(connection, "message", "chat_id")

    def chat(row: sqlite3.Row) -> Iterator[Session | Skipped]:
        others: Counter[str] = Counter()
        rows: list[ForeignMessage] = []
        last: str | None = None
        for one in numbered(connection, "message", messages.get(row["id"], ())):
            parent = last if one["parent_id"] is None else str(one["parent_id"])
            last = str(one["id"])
            facts = {"created_at": time_of(one["timestamp"]), "model": one["model"] or row["model"]}
            rows += message_rows(last, parent, one["role"], partial(said, one["content"]), others, **facts)
        title = row["title"] or ""
        yield from left_out(title, others)
        head = ForeignChat(
            source=SOURCE,
            key=f"{row['id']} {row['started_at']}",  # each database counts from 1
            title=title,
            created_at=time_of(row["started_at"]),
            model=row["model"],
            is_archived=bool(row["archived"]),
        )
        yield foreign_session(head, rows, moment=moment)

    yield from each_chat(connection.execute(_CHATS).fetchall(), chat)
