"""Import of elia's database, as its version 1.10 writes it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lmchat.formats.file_values import Record, time_of
from lmchat.formats.foreign import ChatReaders, DatabaseFormat, ForeignChat, MessageFacts
from lmchat.formats.foreign_database import ForeignDatabase


def read(database: ForeignDatabase) -> ChatReaders:
    """Read each chat; a message follows the one before it, unless it names its parent."""
    messages = database.rows_by("message", "chat_id")
    for row in database.rows("select * from chat order by id"):
        yield partial(_chat, row, messages(row["id"]))


def _chat(row: Record, messages: Iterator[Record]) -> Iterator[ForeignChat]:
    chat = ForeignChat(
        key=f"{row['id']} {row['started_at']}",  # each database counts from 1
        title=row["title"],
        created_at=time_of(row["started_at"]),
        model=row["model"],
        is_archived=bool(row["archived"]),
    )
    for message in messages:
        parent = chat.last if message["parent_id"] is None else str(message["parent_id"])
        facts = MessageFacts(
            created_at=time_of(message["timestamp"]), model=message["model"] or row["model"]
        )
        pieces = [message["content"]]
        chat.add(str(message["id"]), message["role"], pieces, parent=parent, facts=facts)
    yield chat


_TABLES = {"message": ("chat_id", "role", "content", "meta"), "chat": ("started_at",)}
FORMATS = (DatabaseFormat(tables=_TABLES, read=read),)
