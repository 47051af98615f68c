"""Import of what llama.cpp's web UI exports, as of October 2026.

A file has JSON Lines, a record `session` before the records `message` of each chat.
Before June 2026 it had a JSON list of `{"conv", "messages"}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from lmchat.domain.attached_files import file_as_prompt_text
from lmchat.domain.message import ReasoningPart, Receipt, Role
from lmchat.formats.file_values import Record, record_in, text_in, time_of
from lmchat.formats.foreign import (
    ForeignChat,
    JsonFormat,
    MessageFacts,
    MessagePiece,
    RecordsFormat,
    ToolRun,
)
from lmchat.formats.message_list import tool_calls
from lmchat.formats.text_files import TextFile


def fits(value: Record) -> bool:
    """Return whether a value is a record of chats; the line of the first session may be broken."""
    kind = text_in(value, "type")
    has_message = bool(text_in(record_in(value, "message"), "convId"))
    return kind == "session" or (kind == "message" and has_message)


def fits_older(value: Record) -> bool:
    """Return whether a value is a chat of an older export."""
    return "conv" in value and isinstance(value.get("messages"), list)


def read(records: list[Record], _: TextFile) -> Iterator[ForeignChat]:
    """Read each chat of the records of a file."""
    chats: list[tuple[Record, list[Record]]] = []
    for record in records:
        if text_in(record, "type") == "session":
            chats.append((record, []))
            continue
        is_message = text_in(record, "type") == "message"
        message = record_in(record, "message") if is_message else {}  # which is counted as damaged
        chat_id = text_in(message, "convId")
        if not chats or chat_id not in ("", text_in(chats[-1][0], "id")):
            chats.append(({"id": chat_id}, []))  # its own record is broken
        chats[-1][1].append(message)
    for session, messages in chats:
        yield _chat(session, messages)


def read_older(value: Record, _: TextFile) -> Iterator[ForeignChat]:
    """Read the chat of a value."""
    yield _chat(record_in(value, "conv"), value["messages"])


def _chat(session: Record, messages: Iterable[Record]) -> ForeignChat:
    """Read a chat; `parent` makes its messages a tree, with an empty root."""
    chat = ForeignChat(
        key=text_in(session, "id"),
        title=text_in(session, "name"),
        current=text_in(session, "currNode"),
        updated_at=time_of(session.get("lastModified")),
    )
    for message in messages:
        with chat.damage_counted():
            parent = message.get("parent")
            if isinstance(parent, str) and parent not in chat.messages:
                parent = chat.last  # its own parent is broken
            facts = MessageFacts(
                created_at=time_of(message.get("timestamp")),
                model=text_in(message, "model"),
                receipt=_receipt(message.get("timings")),
            )
            role = text_in(message, "role")
            chat.add(message["id"], role, _pieces(message, chat), parent=parent, facts=facts)
    return chat


def _pieces(message: Record, chat: ForeignChat) -> Iterator[MessagePiece]:
    for extra in message.get("extra") or ():
        name = text_in(extra, "name")
        text = extra.get("content")
        if isinstance(text, str):
            yield file_as_prompt_text(name, len(text.encode()), text, "") + "\n\n"
        elif image := chat.image(extra.get("base64Url"), name):
            yield image
        else:
            chat.omit(text_in(extra, "type").removesuffix("File").lower())
    if text_in(message, "role") == Role.TOOL:
        result = message.get("content") or ""
        yield ToolRun(call=text_in(message, "toolCallId"), result=result)
        return
    thought = message.get("reasoningContent") or message.get("thinking")
    yield ReasoningPart(text=chat.text(thought))
    yield chat.text(message.get("content"))
    stored = message.get("toolCalls") or []
    calls = json.loads(stored) if isinstance(stored, str) else stored
    found = list(tool_calls(calls))
    yield from found
    chat.omitted["tool call"] += len(calls or ()) - len(found)


def _receipt(timings: Any) -> Receipt | None:
    if not isinstance(timings, dict) or not timings.get("predicted_ms"):
        return None
    answer_ms = timings["predicted_ms"]
    count = timings.get("predicted_n", 0)
    return Receipt(
        prompt_tokens=timings.get("prompt_n", 0) + timings.get("cache_n", 0),
        completion_tokens=count,
        tokens_per_second=count / answer_ms * 1000,
        is_estimated=False,
        elapsed_ms=answer_ms + timings.get("prompt_ms", 0),
        finish_reason="stop",
    )


FORMATS = (
    RecordsFormat(fits=fits, read=read),
    JsonFormat(fits=fits_older, read=read_older),
)
