"""Import of what llama.cpp's web UI exports, as of October 2026.

A file has JSON Lines, a record `session` before the records `message` of each chat.
Before June 2026 it had a JSON list of `{"conv", "messages"}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from lmchat.formats.file_values import Record, record_in, text_in, time_of
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignPart,
    JsonFormat,
    MessageMetadata,
    RecordsFormat,
    ToolRun,
)
from lmchat.formats.message_list import tool_calls
from lmchat.formats.text_files import TextFile
from lmchat.sessions.attached_files import file_as_prompt_text
from lmchat.sessions.message import AnswerStats, ReasoningPart, Role


def fits(value: Record) -> bool:
    """Return whether a value is a record of an export: a session, or a message of one.

    A message is enough, since the line of the first session may be broken.
    """
    kind = text_in(value, "type")
    has_message = bool(text_in(record_in(value, "message"), "convId"))
    return kind == "session" or (kind == "message" and has_message)


def fits_older(value: Record) -> bool:
    """Return whether a value is a chat of an older export."""
    return "conv" in value and isinstance(value.get("messages"), list)


def read(records: list[Record], _: TextFile) -> Iterator[ForeignChat]:
    """Yield the chats of a file; `records` has a session before the messages of each chat.

    Messages whose session is missing become a chat without a title.
    """
    chats: list[tuple[Record, list[Record]]] = []  # record `session` and messages of each
    for record in records:
        if text_in(record, "type") == "session":
            chats.append((record, []))
            continue
        message: Record = {}  # for another record; `_read_chat` counts it as damaged
        if text_in(record, "type") == "message":
            message = record_in(record, "message")
        chat_id = text_in(message, "convId")
        if not chats or chat_id not in ("", text_in(chats[-1][0], "id")):
            chats.append(({"id": chat_id}, []))  # the line with its record `session` is broken
        last_messages = chats[-1][1]
        last_messages.append(message)
    for session, messages in chats:
        yield _read_chat(session, messages)


def read_older(value: Record, _: TextFile) -> Iterator[ForeignChat]:
    """Yield the chat of a value of an older export."""
    yield _read_chat(record_in(value, "conv"), value["messages"])


def _read_chat(session: Record, messages: Iterable[Record]) -> ForeignChat:
    """Return the chat of a record `session` and its messages.

    The messages are a tree, whose root is an empty message.
    """
    chat = ForeignChat(
        key=text_in(session, "id"),
        title=text_in(session, "name"),
        path_end=text_in(session, "currNode"),
        updated_at=time_of(session.get("lastModified")),
    )
    for message in messages:
        with chat.damage_counted():
            parent = message.get("parent")
            if isinstance(parent, str) and parent not in chat.messages:
                parent = chat.last_key  # the line with its parent is broken
            metadata = MessageMetadata(
                created_at=time_of(message.get("timestamp")),
                model=text_in(message, "model"),
                stats=_stats(message.get("timings")),
            )
            role = text_in(message, "role")
            chat.add(
                message["id"], role, _message_parts(message, chat), parent=parent, metadata=metadata
            )
    return chat


def _message_parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the attached files of a message, then its content.

    The content is the result of a tool, or else thought, text and tool calls. Files that are
    neither texts nor images, and broken tool calls, are counted as left out.
    """
    for extra in message.get("extra") or ():
        name = text_in(extra, "name")
        text = extra.get("content")
        if isinstance(text, str):
            yield file_as_prompt_text(name, len(text.encode()), text, "") + "\n\n"
        elif image := chat.add_image(extra.get("base64Url"), name):
            yield image
        else:
            chat.omit(text_in(extra, "type").removesuffix("File").lower())  # `audioFile`: `audio`

    if text_in(message, "role") == Role.TOOL:
        result = message.get("content") or ""
        yield ToolRun(call=text_in(message, "toolCallId"), result=result)
        return

    thought = message.get("reasoningContent") or message.get("thinking")
    yield ReasoningPart(text=chat.read_text(thought))
    yield chat.read_text(message.get("content"))
    stored_calls = message.get("toolCalls") or []
    call_records = json.loads(stored_calls) if isinstance(stored_calls, str) else stored_calls
    calls = list(tool_calls(call_records))
    yield from calls
    chat.omitted["tool call"] += len(call_records or ()) - len(calls)


def _stats(timings: Any) -> AnswerStats | None:
    """Return the figures of an answer from its `timings`; None if they lack the time it took."""
    if not isinstance(timings, dict) or not timings.get("predicted_ms"):
        return None
    answer_ms = timings["predicted_ms"]
    answer_tokens = timings.get("predicted_n", 0)
    return AnswerStats(
        # `cache_n` tokens of the prompt were in the cache of the server
        prompt_tokens=timings.get("prompt_n", 0) + timings.get("cache_n", 0),
        completion_tokens=answer_tokens,
        tokens_per_second=answer_tokens / answer_ms * 1000,
        is_estimated=False,
        elapsed_ms=answer_ms + timings.get("prompt_ms", 0),
        finish_reason="stop",
    )


FORMATS = (
    RecordsFormat(fits=fits, read=read),
    JsonFormat(fits=fits_older, read=read_older),
)
