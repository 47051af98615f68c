"""Stores to measure with: many sessions of texts that differ, and one long session."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

from msgspec.structs import replace

from lmchat.core.sessions.message import Role, text_message
from lmchat.core.sessions.session import title_from
from lmchat.core.storage import message_records
from lmchat.core.storage.opening import connect, transaction
from lmchat.core.storage.store import Store
from tests.benchmarks.texts import section
from tests.support.chats import header

RARE = "Überprüfungsvermerk"
RARE_SIGN = "龘"
RARE_SIGNS = "東京"
"""Said once, in the oldest message: no search finds it soon by looking."""
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
        yield f"{RARE} {RARE_SIGN} {RARE_SIGNS} {text}" if number == 0 else text


def fill(path: Path, texts: Iterable[str], session_size: int) -> None:
    """Write a store of sessions of so many messages, prompts and answers in turn."""
    session = None
    parent = None
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    with closing(connect(path)) as connection, transaction(connection):
        for number, text in enumerate(texts):
            moment += timedelta(minutes=4)
            if number % session_size == 0:
                session = header(title_from(text), moment=moment)
                parent = None
                message_records.put_session(connection, session)
            role = Role.ASSISTANT if number % 2 else Role.USER
            message = text_message(role, text, parent_id=parent)
            message = replace(message, created_at=moment, model="bench" if number % 2 else "")
            message_records.put_message(connection, session.session_id, message)
            message_records.make_leaf(connection, session.session_id, message, moment)
            parent = message.message_id


def fill_store(home: Path, count: int) -> Path:
    """Write one session of so many messages, whose last ends in a mark; return the folder."""
    if not home.exists():
        home.mkdir()
        path = home / "sessions.db"
        fill(path, [*long_texts(count - 1), f"{_text(count - 1)}\n\nLAST-ANSWER"], count)
        asyncio.run(_check(path))
    return home


async def _check(path: Path) -> None:
    """Do what a run of a few seconds would do else: check, copy and index."""
    store = Store(path)
    await store.open()
    await store.daily_check()
    await store.aclose()


def long_texts(count: int) -> list[str]:
    """Return the texts of a long session: 0.1 and 0.8 kB in turn."""
    return [_text(n) for n in range(count)]


def _text(n: int) -> str:
    if n % 2:
        return section(n)[:800]
    return f"Question {n}: what grows in the shade, in three metres, in August?"
