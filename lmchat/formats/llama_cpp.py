"""Import of what llama.cpp's web UI exports, as of October 2026.

A file has JSON Lines, a record `session` before the records `message` of each chat; before June 2026 it had a
JSON list of `{"conv", "messages"}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lmchat.domain.message import ReasoningPart, Receipt, Role, as_attached
from lmchat.formats.checks import row_in, word
from lmchat.formats.foreign import ForeignChat, Step, time_of
from lmchat.formats.message_list import tool_calls
from lmchat.formats.sources import Row, Source

SOURCE = "llamacpp"


def fits(value: Row) -> bool:
    """Return whether a value is a record of chats; the line of the first session may be broken."""
    is_message = word(value, "type") == "message" and bool(word(row_in(value, "message"), "convId"))
    return is_message or word(value, "type") == "session"


def fits_older(value: Row) -> bool:
    """Return whether a value is a chat of an older export."""
    return "conv" in value and isinstance(value.get("messages"), list)


def read(value: list[Any], source: Source) -> Iterator[ForeignChat]:
    """Read each chat of the records of a file."""
    chats: list[Row] = []
    for record in value:
        if word(record, "type") == "session":
            chats.append({"conv": record, "messages": []})
        else:
            is_message = word(record, "type") == "message"
            message = row_in(record, "message") if is_message else {}  # which is counted as damaged
            chat_id = word(message, "convId")
            if not chats or chat_id not in ("", word(chats[-1]["conv"], "id")):
                chats.append({"conv": {"id": chat_id}, "messages": []})  # its own record is broken
            chats[-1]["messages"].append(message)
    for chat in chats:
        yield from read_older(chat, source)


def read_older(value: Row, _: Source) -> Iterator[ForeignChat]:
    """Read a chat; `parent` makes its messages a tree, with an empty root."""
    about = row_in(value, "conv")
    chat = ForeignChat(
        source=SOURCE,
        key=word(about, "id"),
        title=word(about, "name"),
        current=word(about, "currNode"),
        updated_at=time_of(about.get("lastModified")),
    )
    for message in value["messages"]:
        with chat.damage_counted():
            chat.add(
                message["id"],
                word(message, "role"),
                _steps(message, chat),
                parent=chat.known(message.get("parent")),
                created_at=time_of(message.get("timestamp")),
                model=word(message, "model"),
                receipt=_receipt(message.get("timings")),
            )
    yield chat


def _steps(message: Row, chat: ForeignChat) -> Iterator[Step]:
    for extra in message.get("extra") or ():
        name = word(extra, "name")
        if isinstance(attached := extra.get("content"), str):
            yield as_attached(name, len(attached.encode()), attached, "") + "\n\n"
        elif image := chat.image(extra.get("base64Url"), name):
            yield image
        else:
            chat.omit(word(extra, "type").removesuffix("File").lower())
    if word(message, "role") == Role.TOOL:
        yield word(message, "toolCallId"), message.get("content") or ""
        return
    yield ReasoningPart(text=chat.text(message.get("reasoningContent") or message.get("thinking")))
    yield chat.text(message.get("content"))
    stored = message.get("toolCalls") or []
    calls = json.loads(stored) if isinstance(stored, str) else stored
    found = [*tool_calls(calls)]
    yield from found
    chat.omitted["tool call"] += len(calls or ()) - len(found)


def _receipt(timings: Any) -> Receipt | None:
    if not isinstance(timings, dict) or not timings.get("predicted_ms"):
        return None
    count, elapsed_ms = timings.get("predicted_n", 0), timings["predicted_ms"]
    return Receipt(
        prompt_tokens=timings.get("prompt_n", 0) + timings.get("cache_n", 0),
        completion_tokens=count,
        tokens_per_second=count / elapsed_ms * 1000,
        is_estimated=False,
        elapsed_ms=elapsed_ms + timings.get("prompt_ms", 0),
        finish_reason="stop",
    )
