"""Import of exports of llama.cpp's web UI, as of October 2026.

A file has JSON Lines: for each chat a record `session`, then its records `message`. Before June
2026, it was a chat `{"conv": {}, "messages": []}`, or a list of these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from lmchat.core.formats.reading import (
    Format,
    Record,
    Source,
    at,
    items_of,
    quoted_call,
    text_at,
    time_of,
)
from lmchat.core.imports.foreign_chat import ForeignChat, ForeignPart, quoted_result
from lmchat.core.imports.message_list import tool_calls
from lmchat.core.sessions.message import ReasoningPart, Role
from lmchat.core.sessions.prompts import file_as_prompt_text
from lmchat.core.sessions.session import Session

# like `<<<TOOL_NAME:add>>>`
_MARK = re.compile(
    r"<<<(?P<kind>reasoning_content_(?:start|end)|AGENTIC_TOOL_CALL_(?:START|END)"
    r"|TOOL_NAME|TOOL_ARGS_(?:START|END))(?::(?P<name>[^<>\n]{0,500}))?>>>"
)


def _fits(record: Record) -> bool:
    """Whether it is a session, a message of one, or a whole chat.

    A message is enough: the line of the first session may be broken.
    """
    kind = text_at(record, "type")
    is_message = kind == "message" and bool(_chat_id(record))
    return kind == "session" or is_message or _is_whole_chat(record)


def _is_whole_chat(record: Record) -> bool:
    """Whether it is a chat of before June 2026."""
    return "conv" in record and isinstance(record.get("messages"), list)


def _chat_id(record: Record) -> str:
    """Return the id of the chat that it starts (`session`) or belongs to (`message`)."""
    return text_at(record, "id") or text_at(record, "message", "convId")


def _continues(record: Record, chat: Sequence[Record]) -> bool:
    """Whether it is a message of the chat before it.

    A message of another chat comes without a record `session` if that line was broken. One without
    the id of a chat belongs to the chat before.
    """
    if text_at(record, "type") == "session" or _is_whole_chat(record) or _is_whole_chat(chat[0]):
        return False
    return _chat_id(record) in ("", _chat_id(chat[0]))


def _session(records: Sequence[Record], _source: Source, now: datetime) -> Session:
    """Make the session of a record `session` and messages, of messages alone, or a whole chat.

    The messages are a tree, whose root is an empty message.
    """
    head = records[0]  # a message without a title, if the line of the session is broken
    if _is_whole_chat(head):
        messages = head["messages"]
        head = head["conv"]
    else:
        messages = [record.get("message") for record in records if record.get("type") != "session"]
    chat_ids = (text_at(message, "convId") for message in messages)
    chat = ForeignChat(
        key=text_at(head, "id") or next(filter(None, chat_ids), ""),
        title=text_at(head, "name"),
        path_end=_key(at(head, "currNode")),
        updated_at=time_of(at(head, "lastModified")),
        is_pinned=at(head, "pinned") is True,
    )
    for message in messages:
        chat.add(
            _key(at(message, "id")),
            at(message, "role"),
            _parts(message, chat),
            parent=_key(at(message, "parent")),
            created_at=time_of(at(message, "timestamp")),
            model=at(message, "model"),
        )
    return chat.session(now, source="llamacpp")


def _key(value: Any) -> Any:
    """Return the id as a text; it was a number until September 2025."""
    return str(value) if isinstance(value, int) else value


def _parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Attached files come before the content.

    Those that are neither texts nor images count as left out.
    """
    for extra in items_of(message.get("extra")):
        kind = text_at(extra, "type").removesuffix("File").lower()  # such as `audio`
        name = text_at(extra, "name") or kind
        text = extra.get("content")
        images = items_of(extra.get("images"))  # pages of a PDF that the model saw
        for image in images:
            yield from chat.image_or_omit(image, name)
        if isinstance(text, str):
            if text or not images:
                yield file_as_prompt_text(name, len(text.encode()), text)
        elif not images:
            yield from chat.image_or_omit(extra.get("base64Url"), name, omitted_as=kind)
    if message["role"] == Role.TOOL:
        yield quoted_result(message.get("content") or "")
        return
    thought = message.get("reasoningContent") or message.get("thinking")
    yield ReasoningPart(text=chat.read_text(thought))
    content = chat.read_text(message.get("content"))
    if "<<<AGENTIC_TOOL_CALL" in content or "<<<reasoning_content" in content:
        yield from _marked_parts(content)
        return
    yield content
    # an older name
    calls = message.get("toolCalls") or message.get("tool_calls") or []
    yield from tool_calls(items_of(json.loads(calls) if isinstance(calls, str) else calls), chat)


def _marked_parts(text: str) -> Iterator[ForeignPart]:
    """Yield the parts of a content of early 2026, which has marks for them."""
    start = 0
    name = arguments = ""
    for mark in _MARK.finditer(text):
        before = text[start : mark.start()]
        start = mark.end()
        match mark["kind"]:
            case "reasoning_content_end":
                yield ReasoningPart(text=before)
            case "TOOL_NAME":
                name = mark["name"]
            case "TOOL_ARGS_END":
                arguments = before
            case "AGENTIC_TOOL_CALL_END":
                yield quoted_call(name, arguments)
                yield quoted_result(before.strip())
            case _:
                yield before.strip()
    yield text[start:].strip()


FORMAT = Format(fits=_fits, session=_session, continues=_continues)
