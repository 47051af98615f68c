"""Stores to measure with: many sessions of texts that differ, and one long session."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

from msgspec.structs import replace

from lmchat.sessions.message import Role, text_message
from lmchat.sessions.session import title_from
from lmchat.storage import message_rows
from lmchat.storage.opening import connect
from lmchat.storage.schema import transaction
from lmchat.storage.store import Store
from tests.benchmarks.texts import section
from tests.support.chats import header

RARE, RARE_SIGN = "Überprüfungsvermerk", "龘"
"""Said once, in the oldest message: no search finds it soon by looking."""
_SESSION = 20
_SYLLABLES = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "s")]


def texts(count: int) -> Iterator[str]:
    """Yield texts of 0.1 to 1.5 kB: words by Zipf's law."""
    dice = random.Random(1)  # noqa: S311 - repeats
    words = [
        "".join(dice.choices(_SYLLABLES, k=dice.choice((1, 2, 2, 3, 4)))) for _ in range(60_000)
    ]
    shares = list(accumulate(1 / place for place in range(1, len(words) + 1)))
    for number in range(count):
        chosen = dice.choices(words, cum_weights=shares, k=dice.choice((15, 30, 80, 200)))
        text = " ".join(chosen).capitalize() + "."
        yield f"{RARE} {RARE_SIGN} {text}" if number == 0 else text


def fill(path: Path, count: int) -> None:
    """Write a store with all indexes."""
    session, parent, moment = None, None, datetime(2026, 1, 1, tzinfo=UTC)
    with closing(connect(path)) as connection:
        with transaction(connection):
            for number, text in enumerate(texts(count)):
                moment += timedelta(minutes=4)
                if number % _SESSION == 0:
                    session, parent = header(title_from(text), moment=moment), None
                    message_rows.put_session(connection, session)
                role = Role.ASSISTANT if number % 2 else Role.USER
                message = text_message(role, text, parent_id=parent)
                message = replace(message, created_at=moment)
                message_rows.put_message(connection, session.session_id, message)
                message_rows.make_leaf(connection, session.session_id, message, moment)
                parent = message.message_id
        connection.execute("pragma wal_checkpoint(truncate)")


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
    store = Store(home / "sessions.db")
    session, parent = header("Long"), None
    for n in range(count):
        text = _text(n)
        if n == count - 1:
            text += "\n\nLAST-ANSWER"
        message = text_message(Role.ASSISTANT if n % 2 else Role.USER, text, parent_id=parent)
        message = replace(message, model="bench" if n % 2 else "")
        await store.append(session, message)
        parent = message.message_id
    await store.daily_check()  # checks, copies and indexes: else a run of a few seconds would do it
    await store.aclose()
