"""Stores to measure with: many sessions of texts that differ, and one long session."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from lmchat.sessions.message import ReasoningPart, Role, TextPart, text_message
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
_SIGNS = [chr(0x4E00 + number) for number in range(2000)]
_CODE = "```python\ndef {0}_{1}(self, {2}: int) -> str:\n    return self.{1}->{2}[0]\n```\n"


def texts(count: int) -> Iterator[str]:
    """Yield texts of 0.1 to 1.5 kB: words by Zipf's law, some code, some Chinese."""
    dice = random.Random(1)  # noqa: S311 - repeats
    words = [
        "".join(dice.choices(_SYLLABLES, k=dice.choice((1, 2, 2, 3, 4)))) for _ in range(60_000)
    ]
    shares = [1 / (place + 1) for place in range(len(words))]
    cumulated = [0.0]
    for share in shares:
        cumulated.append(cumulated[-1] + share)
    signs = [1 / (place + 1) for place in range(len(_SIGNS))]
    for number in range(count):
        chosen = dice.choices(words, cum_weights=cumulated[1:], k=dice.choice((15, 30, 80, 200)))
        text = " ".join(chosen).capitalize() + "."
        if number % 10 == 1:
            text += "\n\n" + _CODE.format(*chosen[:3])
        if number % 20 == 2:
            text = "".join(dice.choices(_SIGNS, signs, k=150)) + "。"
        yield f"{RARE} {RARE_SIGN}🙂 {text}" if number == 0 else text


def fill(path: Path, count: int) -> int:
    """Write a store with all indexes; return how many bytes its texts have."""
    size = 0
    session, parent, moment = None, None, datetime(2026, 1, 1, tzinfo=UTC)
    with closing(connect(path)) as connection:
        with transaction(connection):
            for number, text in enumerate(texts(count)):
                moment += timedelta(minutes=4)
                if number % _SESSION == 0:
                    title = title_from(text) if number % 100 else f"Renamed {number}"
                    session = header(title, moment=moment)
                    message_rows.put_session(connection, session)
                    parent = None
                role = Role.ASSISTANT if number % 2 else Role.USER
                message = replace(
                    text_message(role, text, parent_id=parent),
                    created_at=moment,
                    model="bench-8b" if number % 2 else "",
                )
                if number % 6 == 1:
                    message = replace(
                        message,
                        parts=(ReasoningPart(text=f"Hm, {text[:200]}"), TextPart(text=text)),
                    )
                message_rows.put_message(connection, session.session_id, message)
                message_rows.make_leaf(connection, session.session_id, message, moment)
                parent = message.message_id
                size += sum(len(part.text.encode()) for part in message.parts)
        connection.execute("pragma wal_checkpoint(truncate)")
    return size


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
