"""Import of llm's database, as its version 0.36 writes it.

Its threads share the messages of one tree: each message has the hash of the one before it. What
answered when is in the table `turns`, with the hashes of prompt and answer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

from msgspec import Struct

from lmchat.formats.file_values import BAD_VALUE_ERRORS, Record, time_of
from lmchat.formats.foreign import (
    NO_METADATA,
    ChatReaders,
    DatabaseFormat,
    ForeignChat,
    ForeignPart,
    MessageMetadata,
    ToolRun,
    call_of,
)
from lmchat.formats.foreign_database import ForeignDatabase
from lmchat.sessions.message import AnswerStats, ReasoningPart

# Hashes of the messages of a thread: the ends of its branches and, from these, all messages above.
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
_ATTACHMENT = "select content from attachments where id = :id"


class _TurnsMetadata(Struct, frozen=True, kw_only=True):
    """Times, models and figures of messages, from the turns of all threads."""

    by_thread_and_hash: dict[tuple[str, str], MessageMetadata] = {}
    by_hash: dict[str, MessageMetadata] = {}  # of the first thread with this message

    def add(self, thread_id: str, message_hash: str, metadata: MessageMetadata) -> None:
        """Add the metadata of a message, unless an earlier turn has given it."""
        self.by_thread_and_hash.setdefault((thread_id, message_hash), metadata)
        self.by_hash.setdefault(message_hash, metadata)

    def look_up(self, thread_id: str, message_hash: str) -> MessageMetadata:
        """Return the metadata of a message in a thread, else that in any thread.

        A fork has no turns for the messages that it took over from another thread.
        """
        in_any_thread = self.by_hash.get(message_hash, NO_METADATA)
        return self.by_thread_and_hash.get((thread_id, message_hash), in_any_thread)


def read(database: ForeignDatabase) -> ChatReaders:
    """Yield a function for each thread, which reads it."""
    turns_metadata = _turns_metadata(database)
    for thread in database.rows("select * from threads order by id"):
        yield partial(_read_thread, database, thread, turns_metadata)


def _turns_metadata(database: ForeignDatabase) -> _TurnsMetadata:
    """Return the metadata of the prompts and answers of all turns.

    If several turns have the same message, its metadata is that of the oldest turn.
    """
    turns_metadata = _TurnsMetadata()
    for turn in database.rows("select * from turns order by id"):
        with suppress(*BAD_VALUE_ERRORS):  # of a damaged turn; its messages are read without it
            answer = _answer_metadata(turn)
            prompt = MessageMetadata(created_at=time_of(turn["datetime_utc"]))
            turns_metadata.add(turn["thread_id"], turn["tip_message_hash"], answer)
            turns_metadata.add(turn["thread_id"], turn["parent_message_hash"], prompt)
    return turns_metadata


def _answer_metadata(turn: Record) -> MessageMetadata:
    """Return time, model and figures of the answer of a turn; the time is its end."""
    begun = time_of(turn["datetime_utc"])
    duration_ms = turn["duration_ms"] or 0
    stats = AnswerStats(
        prompt_tokens=turn.get("input_tokens"),
        completion_tokens=turn.get("output_tokens"),
        is_estimated=False,
        elapsed_ms=duration_ms,
        finish_reason="stop",
    )
    ended = None if begun is None else begun + timedelta(milliseconds=duration_ms)
    return MessageMetadata(created_at=ended, model=turn["model"], stats=stats)


def _read_thread(
    database: ForeignDatabase, thread: Record, turns_metadata: _TurnsMetadata
) -> Iterator[ForeignChat]:
    """Yield the chat of a row of the table `threads`, whose messages are a tree."""
    thread_id = thread["id"]
    chat = ForeignChat(key=thread_id, title=thread["name"], path_end=thread["tip_message_hash"])
    rows_by_message: defaultdict[str, list[Record]] = defaultdict(list)
    for row in database.rows(_HASHES + _PARTS, id=thread_id):
        rows_by_message[row["message_hash"]].append(row)

    for message in database.rows(_HASHES + _MESSAGES, id=thread_id):
        with chat.damage_counted():
            key = message["hash"]
            chat.add(
                key,
                message["role"],
                _message_parts(database, rows_by_message[key], chat),
                parent=message["parent_hash"],
                metadata=turns_metadata.look_up(thread_id, key),
            )

    times = (message.created_at for message in chat.messages.values())
    # the row has the time of the thread, which is later for a fork that took messages over
    chat.created_at = next(filter(None, times), time_of(thread["datetime_utc"]))
    yield chat


def _message_parts(
    database: ForeignDatabase, rows: Iterable[Record], chat: ForeignChat
) -> Iterator[ForeignPart]:
    """Yield the parts of the rows of a message, and count those that cannot be imported."""
    for part in rows:
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
                rows = database.rows(_ATTACHMENT, id=payload["attachment"]["id"])
                # of some files, the database has only the path or address
                image = chat.add_image(rows[0]["content"]) if rows else None
                if image is None:
                    chat.omitted["attachment"] += 1
                else:
                    yield image
            case kind:
                chat.omit(kind)


def _text(database: ForeignDatabase, part: Record, payload: Record) -> str:
    """Return the text of a part; `payload` is its decoded JSON.

    A prompt with files is a list like `[{"fragment": 3}, {"literal": "Hello"}]`: each file is
    stored once, in the table `fragments`.
    """
    texts = [part["text"] or ""]
    for reference in payload.get("text_ref", ()):
        if "fragment" in reference:
            rows = database.rows(_FRAGMENT, id=reference["fragment"])
            texts += [row["content"] for row in rows]
        else:
            texts.append(reference["literal"])
    return "".join(texts)


FORMATS = (DatabaseFormat(tables=frozenset({"threads", "turns", "parts"}), read=read),)
