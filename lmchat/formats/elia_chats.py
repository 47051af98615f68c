"""Import of elia's database, as its version 1.10 writes it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lmchat.formats.file_values import Record, time_of
from lmchat.formats.foreign import ChatReaders, DatabaseFormat, ForeignChat, MessageMetadata
from lmchat.formats.foreign_database import ForeignDatabase


def read(database: ForeignDatabase) -> ChatReaders:
    """Yield a function for each chat, which reads it with its messages."""
    messages_of = database.rows_by("message", "chat_id")
    for row in database.rows("select * from chat order by id"):
        yield partial(_read_chat, row, messages_of(row["id"]))


def _read_chat(row: Record, messages: Iterator[Record]) -> Iterator[ForeignChat]:
    """Yield the chat of a row of the table `chat`, with its rows of the table `message`.

    A message that names no parent follows the one before it.
    """
    chat = ForeignChat(
        key=f"{row['id']} {row['started_at']}",  # ids alone repeat: each database counts from 1
        title=row["title"],
        created_at=time_of(row["started_at"]),
        model=row["model"],
        is_archived=bool(row["archived"]),
    )
    for message in messages:
        parent = chat.last_key if message["parent_id"] is None else str(message["parent_id"])
        metadata = MessageMetadata(
            created_at=time_of(message["timestamp"]), model=message["model"] or row["model"]
        )
        parts = [message["content"]]
        chat.add(str(message["id"]), message["role"], parts, parent=parent, metadata=metadata)
    yield chat


_TABLES = {"message": ("chat_id", "role", "content", "meta"), "chat": ("started_at",)}
FORMATS = (DatabaseFormat(tables=_TABLES, read=read),)
