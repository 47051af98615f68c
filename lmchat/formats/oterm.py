"""Import of oterm's database, as its versions up to 0.26 write it; it keeps no times and no thoughts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from lmchat.formats.foreign import Chats, ForeignChat, Step
from lmchat.formats.json_stream import NO_JSON
from lmchat.formats.sources import ForeignDatabase, Row

SOURCE = "oterm"


def fits(database: ForeignDatabase) -> bool:
    """Return whether a database is oterm's."""
    return database.has("message", "chat_id", "author", "text") and database.has("chat", "system")


def read(database: ForeignDatabase) -> Chats:
    """Read each chat, a row of messages."""
    messages = database.rows_by("message", "chat_id")
    for row in database.rows("select id, name, model, system from chat order by id"):
        yield partial(_chat, row, list(messages(row["id"])))


def _chat(row: Row, messages: list[Row]) -> Iterator[ForeignChat]:
    chat = ForeignChat(
        source=SOURCE,
        key=f"{row['id']} {messages[0]['text'] if messages else ''}",  # each database counts from 1
        title=row["name"],
        system=row["system"],
        model=row["model"],
    )
    for one in messages:
        steps = _steps(one, chat)
        chat.add(str(one["id"]), one["author"], steps, parent=chat.last, model=row["model"])
    yield chat


def _steps(message: Row, chat: ForeignChat) -> Iterator[Step]:
    try:
        images = json.loads(message.get("images") or "[]")
    except NO_JSON:
        images = [""]
    yield from chat.images(images if isinstance(images, list) else [""])
    yield message["text"]
