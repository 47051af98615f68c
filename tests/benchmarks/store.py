"""A store with one long session."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from lmchat.domain.message import Role, new_id, now, text_message
from lmchat.domain.session import SessionHeader
from lmchat.storage.database import connect
from lmchat.storage.search import index_batch
from lmchat.storage.store import SqliteStore
from tests.benchmarks.texts import section


def fill_store(home: Path, count: int) -> Path:
    """Write a session of so many messages, 0.1 and 0.8 kB in turn, whose last ends in a mark; return the folder."""
    if not home.exists():
        asyncio.run(_fill(home, count))
    return home


def text_bytes(count: int) -> int:
    return sum(len(_text(n).encode()) for n in range(count))


def _text(n: int) -> str:
    if n % 2:
        return section(n)[:800]
    return f"Question {n}: what grows in the shade, in three metres, in August?"


async def _fill(home: Path, count: int) -> None:
    store = SqliteStore(home / "sessions.db")
    header = SessionHeader(session_id=new_id(), title="Long", created_at=now(), updated_at=now())
    parent = None
    for n in range(count):
        text = _text(n)
        if n == count - 1:
            text += "\n\nLAST-ANSWER"
        message = text_message(Role.ASSISTANT if n % 2 else Role.USER, text, parent_id=parent)
        message = replace(message, model="bench" if n % 2 else "")
        await store.append(header, message)
        parent = message.message_id
    await store.aclose()
    with closing(connect(home / "sessions.db")) as connection:
        while index_batch(connection):  # else each start would go on with the index of what came at once
            pass
