"""Import of oterm's database, as its versions up to 0.26 write it.

It has no times and no thoughts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lmchat.formats.file_values import Record, json_of
from lmchat.formats.foreign import (
    ChatReaders,
    DatabaseFormat,
    ForeignChat,
    MessageFacts,
    MessagePiece,
)
from lmchat.formats.foreign_database import ForeignDatabase


def read(database: ForeignDatabase) -> ChatReaders:
    """Read each chat, a row of messages."""
    messages = database.rows_by("message", "chat_id")
    for row in database.rows("select id, name, model, system from chat order by id"):
        yield partial(_chat, row, list(messages(row["id"])))


def _chat(row: Record, messages: list[Record]) -> Iterator[ForeignChat]:
    chat = ForeignChat(
        key=f"{row['id']} {messages[0]['text'] if messages else ''}",  # each database counts from 1
        title=row["name"],
        system=row["system"],
        model=row["model"],
    )
    facts = MessageFacts(model=row["model"])
    for message in messages:
        pieces = _pieces(message, chat)
        chat.add(str(message["id"]), message["author"], pieces, parent=chat.last, facts=facts)
    yield chat


def _pieces(message: Record, chat: ForeignChat) -> Iterator[MessagePiece]:
    images = json_of(message.get("images") or "[]")
    yield from chat.images(images if isinstance(images, list) else [images])
    yield message["text"]


_TABLES = {"message": ("chat_id", "author", "text"), "chat": ("system",)}
FORMATS = (DatabaseFormat(tables=_TABLES, read=read),)
