"""Import of a JSON list of `{"role", "content"}`, the format of chat APIs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

from lmchat.formats.imports.file_values import Record, record_in, text_in
from lmchat.formats.imports.foreign_chat import (
    ForeignChat,
    ForeignPart,
    ToolQuote,
    quoted_call,
    quoted_result,
)
from lmchat.formats.imports.format import JsonFormat
from lmchat.formats.imports.sources import Source
from lmchat.sessions.message import ReasoningPart, RefusalPart, Role

_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM, "function": Role.TOOL}
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


def _fits(record: Record) -> bool:
    """Return whether an object is a message, or has a list of messages.

    One message with a known role is enough.
    """
    rows = record.get("messages", [record])
    return isinstance(rows, list) and any(text_in(row, "role") in _ROLES for row in rows)


def _read(records: Sequence[Record], _: Source) -> ForeignChat:
    """Return the chat of one object with a list of messages, or of objects that are messages.

    The id of the session is made of its content, so that the same list is imported only once.
    """
    head = records[0] if "messages" in records[0] else {}  # the object around the messages, if any
    rows = head.get("messages", records)
    # title, model and messages, one after the other: the JSON of all would take much memory
    digest = hashlib.sha256(json.dumps([text_in(head, "title"), text_in(head, "model")]).encode())
    chat = ForeignChat(key="", title=text_in(head, "title"))  # its key is the digest below
    for number, row in enumerate(rows):
        digest.update(json.dumps(row).encode())
        role = _ROLES.get(text_in(row, "role"))
        if role is None:
            chat.omit("unknown role")
            continue
        model = text_in(row, "model") or text_in(head, "model")
        chat.add(str(number), role, _parts(row, role, chat), parent=chat.last_key, model=model)
    chat.key = digest.hexdigest()
    return chat


def tool_calls(calls: Iterable[object], chat: ForeignChat) -> Iterator[ToolQuote]:
    """Yield the tool calls in a list of a chat API; items of another form count as left out.

    A call is like `{"id": "1", "function": {"name": "add", "arguments": "{}"}}`.
    """
    for call in calls:
        function = record_in(call, "function")
        if function:
            name = text_in(function, "name")
            yield quoted_call(name, function.get("arguments", ""))
        else:
            chat.omit("tool call")


def _parts(row: Record, role: Role, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a message; `ForeignChat.add` leaves empty ones out.

    The content of a message is a text or a list. Items of a list are texts, parts like
    `{"type": "text", "text": "Hello"}`, or images like
    `{"type": "image_url", "image_url": {"url": "data:image/png;base64,…"}}`.
    """
    thoughts = [text_in(row, name) for name in _REASONING_FIELDS]
    yield ReasoningPart(text=next(filter(None, thoughts), ""))
    content = row.get("content") or ""
    if role is Role.TOOL:
        yield quoted_result(content)
        return
    for part in [content] if isinstance(content, str) else content:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            yield text
        elif text_in(part, "type") == "image_url":
            # the value of `image_url` may also be the address itself
            url = text_in(record_in(part, "image_url"), "url") or text_in(part, "image_url")
            yield from chat.image_or_omit(url)
        else:
            chat.omit(text_in(part, "type"))
    yield from tool_calls(row.get("tool_calls") or (), chat)
    yield RefusalPart(text=text_in(row, "refusal"))


FORMAT = JsonFormat(
    fits=_fits,
    read=_read,
    # An object with a list of messages is a chat; messages that follow each other are one, too.
    begins_chat=lambda record, chat: "messages" in record or "messages" in chat[0],
)
