"""Import of llm's database as its version 0.36 writes it: threads that share the messages of one tree."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from lmchat.domain.message import ReasoningPart, Role, TextPart, ToolCallPart, ToolResultPart
from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import WRONG
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignMessage,
    Step,
    each_chat,
    foreign_session,
    left_out,
    message_rows,
    time_of,
)
from lmchat.formats.llm_responses import answer_facts, read_responses
from lmchat.formats.sources import Tables, tables_of

SOURCE = "llm"
_HASHES = """
with recursive chain(hash) as (
    select tip_message_hash from threads where id = :id
    union select tip_message_hash from turns where thread_id = :id
    union select messages.parent_hash from messages join chain using (hash)
)
"""
_MESSAGES = "select messages.* from messages join chain using (hash) order by messages.rowid"
_PARTS = "select parts.* from parts join chain on message_hash = hash order by parts.id"
Turns = dict[tuple[str | None, str], dict[str, Any]]  # facts of messages by thread and hash, or by hash


def fits(tables: Tables) -> bool:
    """Return whether a database is one of llm, with tables of this version or before."""
    return {"threads", "turns", "parts"} <= tables.keys() or {"conversations", "responses"} <= tables.keys()


def read(connection: sqlite3.Connection, moment: datetime) -> Iterator[Session | Skipped]:
    """Read each thread, then the conversations that older versions wrote and this one did not continue."""
    tables = tables_of(connection)
    if "turns" in tables:
        turns = _turns(connection)
        threads = connection.execute("select * from threads order by id").fetchall()
        yield from each_chat(threads, lambda thread: _thread(connection, thread, turns, moment))
    if "responses" in tables:
        yield from read_responses(connection, tables, SOURCE, moment)


def _turns(connection: sqlite3.Connection) -> Turns:
    """Return the times, models and figures of turns; a thread's own ones go before those of its fork."""
    facts: Turns = {}
    for turn in connection.execute("select * from turns order by id").fetchall():
        with suppress(*WRONG):  # damaged facts, not messages
            answer, asked = answer_facts(dict(turn)), {"created_at": time_of(turn["datetime_utc"])}
            for thread in (turn["thread_id"], None):
                facts.setdefault((thread, turn["tip_message_hash"]), answer)
                facts.setdefault((thread, turn["parent_message_hash"]), asked)
    return facts


def _thread(
    connection: sqlite3.Connection, thread: sqlite3.Row, turns: Turns, moment: datetime
) -> Iterator[Session | Skipped]:
    others: Counter[str] = Counter()
    parts: dict[str, list[sqlite3.Row]] = {}
    for part in connection.execute(_HASHES + _PARTS, {"id": thread["id"]}).fetchall():
        parts.setdefault(part["message_hash"], []).append(part)
    rows: list[ForeignMessage] = []
    for message in connection.execute(_HASHES + _MESSAGES, {"id": thread["id"]}).fetchall():
        key, parent = message["hash"], message["parent_hash"]
        facts = turns.get((thread["id"], key)) or turns.get((None, key)) or {}
        steps = partial(_steps, connection, parts.get(key, ()), others)
        rows += message_rows(key, parent, message["role"], steps, others, **facts)
    title = thread["name"] or ""
    yield from left_out(title, others)
    head = ForeignChat(
        source=SOURCE,
        key=thread["id"],
        title=title,
        current=thread["tip_message_hash"],
        created_at=next((row.created_at for row in rows if row.created_at), time_of(thread["datetime_utc"])),
    )
    yield foreign_session(head, rows, moment=moment)


def _steps(
    connection: sqlite3.Connection, parts: Iterable[sqlite3.Row], others: Counter[str], _: Role
) -> Iterator[Step]:
    for part in parts:
        payload = json.loads(part["payload"] or "{}")
        call_id = payload.get("tool_call_id") or ""
        match part["type"]:
            case "text":
                yield TextPart(text=_text(connection, part, payload))
            case "reasoning":
                if text := _text(connection, part, payload):
                    yield ReasoningPart(text=text)
            case "tool_call":
                arguments = json.dumps(payload["arguments"])
                yield ToolCallPart(call_id=call_id, name=payload["name"], arguments=arguments)
            case "tool_result":
                call = ToolCallPart(call_id=call_id, name="", arguments="")
                yield call, ToolResultPart(text=payload["output"])
                others["attachment"] += len(payload.get("attachments", ()))
            case kind:
                others[kind] += 1


def _text(connection: sqlite3.Connection, part: sqlite3.Row, payload: dict[str, Any]) -> str:
    """Return a text; the files that a prompt borrows are stored once, as fragments."""
    texts = [part["text"] or ""]
    for piece in payload.get("text_ref", ()):
        if "fragment" in piece:
            fragment = (piece["fragment"],)
            texts += (
                connection.execute("select content from fragments where id = ?", fragment).fetchone() or ()
            )
        else:
            texts.append(piece["literal"])
    return "".join(texts)
