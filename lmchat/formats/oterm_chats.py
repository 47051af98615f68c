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
    ForeignPart,
    MessageMetadata,
)
from lmchat.formats.foreign_database import ForeignDatabase


def read(database: ForeignDatabase) -> ChatReaders:
    """Yield a function for each chat, which reads it with its messages."""
    messages_of = database.rows_by("message", "chat_id")
    for row in database.rows("select id, name, model, system from chat order by id"):
        yield partial(_read_chat, row, list(messages_of(row["id"])))


def _read_chat(row: Record, messages: list[Record]) -> Iterator[ForeignChat]:
    """Yield the chat of a row of the table `chat`, with its rows of the table `message`.

    Each message follows the one before it.
    """
    chat = ForeignChat(
        # ids alone repeat, because each database counts from 1
        key=f"{row['id']} {messages[0]['text'] if messages else ''}",
        title=row["name"],
        system=row["system"],
        model=row["model"],
    )
    metadata = MessageMetadata(model=row["model"])
    for message in messages:
        parts = _message_parts(message, chat)
        chat.add(
            str(message["id"]), message["author"], parts, parent=chat.last_key, metadata=metadata
        )
    yield chat


def _message_parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the images of a message, which are a JSON list of texts in base64, and its text."""
    images = json_of(message.get("images") or "[]")
    # any other value is taken for one image; that of damaged JSON is counted as a lost one
    yield from chat.add_images(images if isinstance(images, list) else [images])
    yield message["text"]


_TABLES = {"message": ("chat_id", "author", "text"), "chat": ("system",)}
FORMATS = (DatabaseFormat(tables=_TABLES, read=read),)
