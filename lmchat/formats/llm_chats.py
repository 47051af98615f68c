"""Import of llm's database, as its version 0.36 writes it.

Its threads share the messages of one tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from msgspec import Struct

from lmchat.domain.message import ReasoningPart
from lmchat.formats.file_values import BAD_VALUE_ERRORS, Record, time_of
from lmchat.formats.foreign import (
    NO_FACTS,
    ChatReaders,
    DatabaseFormat,
    ForeignChat,
    MessageFacts,
    MessagePiece,
    ToolRun,
    call_of,
)
from lmchat.formats.foreign_database import ForeignDatabase
from lmchat.formats.llm_older_chats import answer_facts, attached, read_responses

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
_FRAGMENT = "select content from fragments where id = :id"


class _TurnFacts(Struct, frozen=True, kw_only=True):
    """Times, models and figures by the hash of a message, of each thread and of all."""

    of_threads: dict[tuple[str, str], MessageFacts] = {}
    of_all: dict[str, MessageFacts] = {}

    def add(self, thread_id: str, message_hash: str, facts: MessageFacts) -> None:
        self.of_threads.setdefault((thread_id, message_hash), facts)
        self.of_all.setdefault(message_hash, facts)

    def facts(self, thread_id: str, message_hash: str) -> MessageFacts:
        """Return those of the thread; a fork has only those of the thread before it."""
        of_any = self.of_all.get(message_hash, NO_FACTS)
        return self.of_threads.get((thread_id, message_hash), of_any)


def read(database: ForeignDatabase) -> ChatReaders:
    """Read each thread, then the conversations of older versions that it did not continue."""
    facts = _turn_facts(database)
    for thread in database.rows("select * from threads order by id"):
        yield partial(_thread, database, thread, facts)
    if "responses" in database.tables:
        yield from read_responses(database)


def _turn_facts(database: ForeignDatabase) -> _TurnFacts:
    facts = _TurnFacts()
    for turn in database.rows("select * from turns order by id"):
        with suppress(*BAD_VALUE_ERRORS):  # damaged facts, not messages
            answer = answer_facts(turn)
            prompt = MessageFacts(created_at=time_of(turn["datetime_utc"]))
            facts.add(turn["thread_id"], turn["tip_message_hash"], answer)
            facts.add(turn["thread_id"], turn["parent_message_hash"], prompt)
    return facts


def _thread(database: ForeignDatabase, thread: Record, facts: _TurnFacts) -> Iterator[ForeignChat]:
    thread_id = thread["id"]
    chat = ForeignChat(key=thread_id, title=thread["name"], current=thread["tip_message_hash"])
    parts: dict[str, list[Record]] = {}
    for part in database.rows(_HASHES + _PARTS, id=thread_id):
        parts.setdefault(part["message_hash"], []).append(part)
    for message in database.rows(_HASHES + _MESSAGES, id=thread_id):
        with chat.damage_counted():
            key = message["hash"]
            chat.add(
                key,
                message["role"],
                _pieces(database, parts.get(key, ()), chat),
                parent=message["parent_hash"],
                facts=facts.facts(thread_id, key),
            )
    times = (message.created_at for message in chat.messages.values())
    chat.created_at = next(filter(None, times), time_of(thread["datetime_utc"]))
    yield chat


def _pieces(
    database: ForeignDatabase, parts: Iterable[Record], chat: ForeignChat
) -> Iterator[MessagePiece]:
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
                yield ToolRun(call=call_id, result=payload["output"])
                chat.omitted["attachment"] += len(payload.get("attachments", ()))
            case "attachment":
                yield from attached(database, [payload["attachment"]], chat)
            case kind:
                chat.omit(kind)


def _text(database: ForeignDatabase, part: Record, payload: Record) -> str:
    """Return a text; the files that a prompt borrows are stored once, as fragments."""
    texts = [part["text"] or ""]
    for piece in payload.get("text_ref", ()):
        if "fragment" in piece:
            rows = database.rows(_FRAGMENT, id=piece["fragment"])
            texts += [row["content"] for row in rows]
        else:
            texts.append(piece["literal"])
    return "".join(texts)


FORMATS = (
    DatabaseFormat(tables={"threads": (), "turns": (), "parts": ()}, read=read),
    DatabaseFormat(tables={"responses": ("conversation_id",)}, read=read_responses),
)
