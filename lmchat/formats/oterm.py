"""Import of oterm's database, as its versions up to 0.26 write it; it keeps no times and no thoughts."""

from __future__ import annotations

import json
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
)
from lmchat.formats.sources import Tables, numbered, numbers_by

SOURCE = "oterm"
_CHATS = "select id, name, model, system from chat order by id"


def fits(tables: Tables) -> bool:
    """Return whether a database is oterm's."""
    return {"chat_id", "author", "text"} <= tables.get("message", set()) and "system" in tables.get(
        "chat", set()
    )


def read(connection: sqlite3.Connection, moment: datetime) -> Iterator[Session | Skipped]:
    """Read each chat, a row of messages."""
    messages = numbers_by(connection, "message", "chat_id")

    def chat(row: sqlite3.Row) -> Iterator[Session | Skipped]:
        others: Counter[str] = Counter()
        rows: list[ForeignMessage] = []
        last: str | None = None
        found = list(numbered(connection, "message", messages.get(row["id"], ())))
        for one in found:
            parent, last = last, str(one["id"])
            steps = partial(said, one["text"])
            rows += message_rows(last, parent, one["author"], steps, others, model=row["model"])
            if images := json.loads(one.get("images") or "[]"):
                others["image"] += len(images)
        title = row["name"] or ""
        yield from left_out(title, others)
        head = ForeignChat(
            source=SOURCE,
            key=f"{row['id']} {found[0]['text'] if found else ''}",  # each database counts from 1
            title=title,
            system=row["system"] or "",
            model=row["model"],
        )
        yield foreign_session(head, rows, moment=moment)

    yield from each_chat(connection.execute(_CHATS).fetchall(), chat)
