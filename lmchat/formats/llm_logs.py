"""Import of llm's database as its version 0.36 writes it: threads that share the messages of one tree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from lmchat.domain.message import ReasoningPart
from lmchat.formats.checks import WRONG
from lmchat.formats.foreign import Chats, ForeignChat, Step, call_of, time_of
from lmchat.formats.llm_responses import SOURCE, answer_facts, attached, read_responses
from lmchat.formats.sources import ForeignDatabase, Row

_HASHES = """
with recursive chain(hash) as (
    select tip_message_hash from threads where id = :id
    union select tip_message_hash from turns where thread_id = :id
    union select parent_message_hash from turns where thread_id = :id
    union select messages.parent_hash from messages join chain using (hash)
)
"""
_MESSAGES = "select messages.* from messages join chain using (hash) order by messages.rowid"
_PARTS = "select parts.* from parts join chain on message_hash = hash order by parts.id"
Turns = dict[
    tuple[str | None, str], dict[str, Any]
]  # facts of messages by thread and hash, or by hash


def fits(database: ForeignDatabase) -> bool:
    """Return whether a database is one of llm, with tables of this version or before."""
    return {"threads", "turns", "parts"} <= database.tables.keys() or database.has(
        "responses", "conversation_id"
    )


def read(database: ForeignDatabase) -> Chats:
    """Read each thread, then the conversations that older versions wrote and this one did not continue."""
    if "turns" in database.tables:
        turns = _turns(database)
        for thread in database.rows("select * from threads order by id"):
            yield partial(_thread, database, thread, turns)
    if "responses" in database.tables:
        yield from read_responses(database)


def _turns(database: ForeignDatabase) -> Turns:
    """Return the times, models and figures of turns; a thread's own ones go before those of its fork."""
    facts: Turns = {}
    for turn in database.rows("select * from turns order by id"):
        with suppress(*WRONG):  # damaged facts, not messages
            answer, asked = answer_facts(turn), {"created_at": time_of(turn["datetime_utc"])}
            for thread in (turn["thread_id"], None):
                facts.setdefault((thread, turn["tip_message_hash"]), answer)
                facts.setdefault((thread, turn["parent_message_hash"]), asked)
    return facts


def _thread(database: ForeignDatabase, thread: Row, turns: Turns) -> Iterator[ForeignChat]:
    chat = ForeignChat(
        source=SOURCE, key=thread["id"], title=thread["name"], current=thread["tip_message_hash"]
    )
    parts: dict[str, list[Row]] = {}
    for part in database.rows(_HASHES + _PARTS, id=thread["id"]):
        parts.setdefault(part["message_hash"], []).append(part)
    for message in database.rows(_HASHES + _MESSAGES, id=thread["id"]):
        with chat.damage_counted():
            key = message["hash"]
            facts = turns.get((thread["id"], key)) or turns.get((None, key)) or {}
            steps = _steps(database, parts.get(key, ()), chat)
            chat.add(key, message["role"], steps, parent=message["parent_hash"], **facts)
    times = (row.created_at for row in chat.rows.values() if row.created_at)
    chat.created_at = next(times, time_of(thread["datetime_utc"]))
    yield chat


def _steps(database: ForeignDatabase, parts: Iterable[Row], chat: ForeignChat) -> Iterator[Step]:
    for part in parts:
        payload = json.loads(part["payload"] or "{}")
        call_id = payload.get("tool_call_id") or ""
        match part["type"]:
            case "text":
                yield _text(database, part, payload)
            case "reasoning":
                yield ReasoningPart(text=_text(database, part, payload))
            case "tool_call":
                yield call_of(call_id, payload["name"], payload["arguments"])
            case "tool_result":
                yield call_id, payload["output"]
                chat.omitted["attachment"] += len(payload.get("attachments", ()))
            case "attachment":
                yield from attached(database, [payload["attachment"]], chat)
            case kind:
                chat.omit(kind)


def _text(database: ForeignDatabase, part: Row, payload: Row) -> str:
    """Return a text; the files that a prompt borrows are stored once, as fragments."""
    texts = [part["text"] or ""]
    for piece in payload.get("text_ref", ()):
        if "fragment" in piece:
            query = "select content from fragments where id = :id"
            texts += [row["content"] for row in database.rows(query, id=piece["fragment"])]
        else:
            texts.append(piece["literal"])
    return "".join(texts)
