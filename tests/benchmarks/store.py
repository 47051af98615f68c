"""A store with one long session."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from lmchat.domain.message import Role, new_id, now, text_message
from lmchat.domain.session import SessionHeader
from lmchat.storage.sessions import SessionStore
from tests.benchmarks.texts import section


def fill_store(home: Path, count: int) -> Path:
    """Write a session of so many messages, 0.1 and 0.8 kB in turn, whose last ends in a mark; return the folder."""
    if not home.exists():
        asyncio.run(_fill(home, count))
    return home


async def _fill(home: Path, count: int) -> None:
    store = SessionStore(home / "sessions.db")
    header = SessionHeader(session_id=new_id(), title="Long", created_at=now(), updated_at=now())
    parent = None
    for n in range(count):
        text = (
            section(n)[:800]
            if n % 2
            else f"Question {n}: what grows in the shade, in three metres, in August?"
        )
        if n == count - 1:
            text += "\n\nLAST-ANSWER"
        message = text_message(Role.ASSISTANT if n % 2 else Role.USER, text, parent_id=parent)
        message = replace(message, model="bench" if n % 2 else "")
        await store.append(header, message)
        parent = message.message_id
    await store.aclose()
