"""Import of llm's database, as its version 0.36 writes it.

Its threads share the messages of one tree: each message has the hash of the one before it. The tip
of a thread or turn is its last message. A row of `turns` has the time and the model of an answer,
and the hashes of prompt and answer. The file may be hostile, and llm may be using it.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lmchat.base.units import counted
from lmchat.core.formats.reading import BAD_VALUE_ERRORS, Record, items_of, quoted_call, time_of
from lmchat.core.imports.foreign_chat import ForeignChat, ForeignPart, quoted_result
from lmchat.core.sessions.message import ReasoningPart
from lmchat.core.sessions.session import Session, Skipped

VERSIONS = "llm 0.36 and later"
_LARGEST_VALUE_BYTES = 256 * 1024 * 1024
# of the file itself: without views and virtual tables
_TABLES = """
select name from sqlite_master where type = 'table' and rootpage > 0 and sql not like '%virtual%'
"""
_NEEDED_TABLES = {"threads", "turns", "messages", "parts", "fragments", "attachments"}
# Hashes of all messages of the thread `:id`: the ends of its branches and all above. A `select`
# below follows it.
_CHAIN = """
with recursive chain(hash) as (
    select tip_message_hash from threads where id = :id
    union select tip_message_hash from turns where thread_id = :id
    union select parent_message_hash from turns where thread_id = :id
    union select messages.parent_hash from messages join chain using (hash)
)
"""
# behind `_CHAIN`, in the order of the tables
_MESSAGES = "select messages.* from messages join chain using (hash) order by messages.rowid"
_PARTS = "select parts.* from parts join chain on message_hash = hash order by parts.id"
_FRAGMENT = "select content from fragments where id = :id"
_ATTACHMENT = "select content from attachments where id = :id"
# against hostile databases: https://sqlite.org/security.html
_GUARDS = ("trusted_schema = off", "cell_size_check = on", "query_only = on", "mmap_size = 0")


def _session(path: Path) -> sqlite3.Connection:
    """Open the database for reading, with limits against a hostile file."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    # `timeout`: seconds to wait for llm
    database = sqlite3.connect(address, uri=True, timeout=1)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE_BYTES)
    for guard in _GUARDS:
        database.execute(f"pragma {guard}")
    # only invalid bytes are replaced
    database.text_factory = lambda data: data.decode(errors="replace")
    database.row_factory = sqlite3.Row
    return database


def _records(database: sqlite3.Connection, query: str, **values: Any) -> list[Record]:
    """Read all rows at once, since an open query locks the database for llm."""
    return [dict(record) for record in database.execute(query, values)]


# By the hash of a message of a turn, for `ForeignChat.add`: `created_at` and, for an answer,
# `model`.
_Metadata = dict[str, dict[str, Any]]


def fits(path: Path) -> bool:
    """Whether it has all tables that are read here; raises `sqlite3.Error`."""
    with closing(_session(path)) as database:
        return {table["name"] for table in _records(database, _TABLES)} >= _NEEDED_TABLES


def sessions(path: Path, now: datetime) -> Iterator[Session | Skipped]:
    """Raises `sqlite3.Error`."""
    with closing(_session(path)) as database:
        if any(table["name"] == "responses" for table in _records(database, _TABLES)):
            older = "select count(distinct conversation_id) as count from responses"
            if count := _records(database, older)[0]["count"]:
                chats = counted(count, "chat")
                yield Skipped(where="logs.db", reason=f"{chats} of llm before 0.36 left out")
        metadata: _Metadata = {}
        for turn in _records(database, "select * from turns order by id"):
            with suppress(*BAD_VALUE_ERRORS):  # its messages are read without it
                _add_metadata(turn, metadata)
        for number, thread in enumerate(_records(database, "select * from threads order by id"), 1):
            try:
                yield _chat(database, thread, metadata).session(now, source="llm")
            except (*BAD_VALUE_ERRORS, sqlite3.Error):
                yield Skipped(where=f"chat {number}", reason="it is damaged")


def _add_metadata(turn: Record, metadata: _Metadata) -> None:
    """Add the times and the model of a turn to its prompt and answer.

    The tip of a turn is its answer, whose parent is its prompt. What an earlier turn has added
    stays.
    """
    started = time_of(turn["datetime_utc"])
    ended = None
    if started is not None:
        ended = started + timedelta(milliseconds=turn["duration_ms"] or 0)
    answer = {"created_at": ended, "model": turn["model"]}
    metadata.setdefault(turn["tip_message_hash"], answer)
    metadata.setdefault(turn["parent_message_hash"], {"created_at": started})


def _chat(database: sqlite3.Connection, thread: Record, metadata: _Metadata) -> ForeignChat:
    thread_id = thread["id"]
    chat = ForeignChat(
        key=thread_id, title=thread["name"] or "", path_end=thread["tip_message_hash"]
    )
    records_by_message: defaultdict[str, list[Record]] = defaultdict(list)
    for record in _records(database, _CHAIN + _PARTS, id=thread_id):
        records_by_message[record["message_hash"]].append(record)

    for message in _records(database, _CHAIN + _MESSAGES, id=thread_id):
        facts = metadata.get(message["hash"], {})
        chat.add(
            message["hash"],
            message["role"],
            _parts(database, records_by_message[message["hash"]], chat),
            parent=message["parent_hash"],
            **facts,
        )
        # that of the row is later for a fork that took messages over
        chat.created_at = chat.created_at or facts.get("created_at")
    chat.created_at = chat.created_at or time_of(thread["datetime_utc"])
    return chat


def _parts(
    database: sqlite3.Connection, records: Iterable[Record], chat: ForeignChat
) -> Iterator[ForeignPart]:
    """Count rows of unknown kinds as left out."""
    for part in records:
        payload = json.loads(part["payload"] or "{}")
        match part["type"]:
            case "text":
                yield _text(database, part, payload, chat)
            case "reasoning":
                yield ReasoningPart(text=_text(database, part, payload, chat))
            case "tool_call":
                yield quoted_call(payload["name"], payload["arguments"])
            case "tool_result":
                yield quoted_result(payload["output"])
                chat.omit("attachment", len(items_of(payload.get("attachments"))))
            case "attachment":
                found = _records(database, _ATTACHMENT, id=payload["attachment"]["id"])
                # the database has only the path or address of some files
                content = found[0]["content"] if found else None
                yield from chat.image_or_omit(content, omitted_as="attachment")
            case kind:
                chat.omit(kind)


def _text(database: sqlite3.Connection, part: Record, payload: Record, chat: ForeignChat) -> str:
    """Return the text of a part; `payload` is its decoded JSON.

    A prompt with files is a list like `[{"fragment": 3}, {"literal": "Hello"}]`: each file is
    stored once, in the table `fragments`. A missing one counts as left out.
    """
    texts = [part["text"] or ""]
    for reference in payload.get("text_ref", ()):
        if "fragment" in reference:
            records = _records(database, _FRAGMENT, id=reference["fragment"])
            texts += [record["content"] for record in records]
            chat.omit("fragment", 0 if records else 1)
        else:
            texts.append(reference["literal"])
    return "".join(texts)
