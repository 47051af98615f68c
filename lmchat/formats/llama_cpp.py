"""Import of what llama.cpp's web UI exports, as of October 2026.

A file has JSON Lines, a record `session` before the records `message` of each chat; before June 2026 it had a
JSON list of `{"conv", "messages"}`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lmchat.domain.message import Part, Receipt, Role, TextPart, ToolCallPart, ToolResultPart, as_attached
from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import Content, word
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignMessage,
    Picture,
    foreign_session,
    left_out,
    picture,
    spoken,
    time_of,
)
from lmchat.formats.message_list import tool_calls

SOURCE = "llamacpp"


def fits(content: Content) -> bool:
    """Return whether a value is a chat, or the records of chats."""
    value = content.value
    if isinstance(value, list):
        return bool(value) and word(value[0], "type") == "session"
    return isinstance(value, dict) and "conv" in value and isinstance(value.get("messages"), list)


def read(content: Content) -> Iterator[Session | Skipped]:
    """Read each chat; `parent` makes its messages a tree, with an empty root."""
    chats: list[tuple[Any, list[Any]]] = []
    if isinstance(content.value, dict):
        chats.append((content.value["conv"], content.value["messages"]))
    else:
        for record in content.value:
            if word(record, "type") == "session":
                chats.append((record, []))
            elif word(record, "type") == "message":
                chats[-1][1].append(record["message"])
        damaged = sum(record is None for record in content.value)
        yield from left_out(content.name, Counter({"damaged line": damaged}))
    for chat, messages in chats:
        others: Counter[str] = Counter()
        rows = [_row(message, others) for message in messages]
        yield from left_out(word(chat, "name"), others)
        head = ForeignChat(
            source=SOURCE,
            key=chat["id"],
            title=word(chat, "name"),
            current=word(chat, "currNode"),
            updated_at=time_of(chat.get("lastModified")),
        )
        yield foreign_session(head, rows, moment=content.moment)


def _row(message: Any, others: Counter[str]) -> ForeignMessage:
    role = Role(message["role"])
    text = word(message, "content")
    parts: list[Part | Picture] = []
    for extra in message.get("extra") or ():
        if isinstance(attached := extra.get("content"), str):
            name = word(extra, "name")
            parts.append(TextPart(text=as_attached(name, len(attached.encode()), attached, "") + "\n\n"))
        elif image := picture(extra.get("base64Url"), word(extra, "name")):
            parts.append(image)
        else:
            others[word(extra, "type").removesuffix("File").lower() or "unknown part"] += 1
    if role is Role.TOOL:
        call = ToolCallPart(call_id=word(message, "toolCallId"), name="", arguments="")
        parts = [call, ToolResultPart(text=text)]
    else:
        thought = word(message, "reasoningContent") or word(message, "thinking")
        parts += spoken(text, thought=thought)
        calls = message.get("toolCalls") or []
        parts += tool_calls(json.loads(calls) if isinstance(calls, str) else calls)
    return ForeignMessage(
        key=message["id"],
        role=role,
        parts=tuple(parts),
        parent=message.get("parent"),
        created_at=time_of(message.get("timestamp")),
        model=word(message, "model"),
        receipt=_receipt(message.get("timings")),
    )


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
