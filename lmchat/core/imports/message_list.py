"""Import of a JSON list of `{"role", "content"}`, the format of chat APIs.

A chat `{"title", "messages"}` may also have a model, times (`created_at`) and an `id`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from lmchat.core.formats.reading import (
    EMPTY,
    Format,
    Record,
    Source,
    ToolQuote,
    at,
    items_of,
    quoted_call,
    text_at,
    time_of,
)
from lmchat.core.imports.foreign_chat import ForeignChat, ForeignPart, failure_of, quoted_result
from lmchat.core.sessions.message import ReasoningPart, RefusalPart, Role
from lmchat.core.sessions.session import Session

_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM, "function": Role.TOOL}
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
# of parts of a content
_TEXTS = ("", "text", "input_text", "output_text")  # `{"text": "Hello"}` alone is a text, too
_IMAGES = ("image_url", "input_image")
_THOUGHTS = ("reasoning", "thinking")
# beside the content, with the kind of their items
_NOT_READ = (("attachments", "attachment"), ("files", "file"), ("audio", "recording"))


def _fits(record: Record) -> bool:
    """Whether it is a message, or has a list with one message of a known role."""
    messages = record.get("messages", [record])
    return isinstance(messages, list) and any(
        text_at(message, "role") in _ROLES for message in messages
    )


def _session(records: Sequence[Record], _source: Source, now: datetime) -> Session:
    """Make the session of one record with a list, or of records that are messages.

    Without an id of the chat, one is made of its content: the same list is imported only once.
    """
    head = records[0] if "messages" in records[0] else {}  # around the messages
    title = text_at(head, "title")
    model = text_at(head, "model")
    # one after the other: the JSON of all would take much memory
    digest = hashlib.sha256(json.dumps([title, model]).encode())
    # the key is set below
    chat = ForeignChat(key="", title=title, created_at=time_of(head.get("created_at")))
    chat.system = chat.read_text(head.get("system"))
    for number, record in enumerate(head.get("messages", records)):
        digest.update(json.dumps(record).encode())
        role = _ROLES.get(text_at(record, "role"))
        if role is None:
            chat.omit("unknown role")
            continue
        parts = _parts(record, role, chat)
        record_model = text_at(record, "model") or model
        chat.add(
            str(number),
            role,
            parts,
            parent=chat.last_key,
            created_at=time_of(at(record, "created_at")),
            model=record_model,
        )
    chat.key = text_at(head, "id") or digest.hexdigest()
    return chat.session(now, source="")


def tool_calls(calls: Iterable[object], chat: ForeignChat) -> Iterator[ToolQuote]:
    """Yield the calls in a list of a chat API; items of another form count as left out.

    A call is like `{"id": "1", "function": {"name": "add", "arguments": "{}"}}`.
    """
    for call in calls:
        if isinstance(function := at(call, "function"), dict) and function:
            yield quoted_call(text_at(function, "name"), function.get("arguments", ""))
        else:
            chat.omit("tool call")


def _parts(record: Record, role: Role, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a message, whose content is a text, a part or a list of these."""
    for name in _REASONING_FIELDS:
        if thought := chat.read_text(record.get(name)):
            yield ReasoningPart(text=thought)
            break
    content = record.get("content")
    if content in EMPTY:
        content = record.get("parts")  # as in requests to Gemini
    if role is Role.TOOL:
        yield quoted_result(content or "")
        return
    for part in items_of(content):
        yield from _content_part(part, chat)
    for image in items_of(record.get("images")):  # as in requests to Ollama
        yield from chat.image_or_omit(image)
    for name, kind in _NOT_READ:
        chat.omit(kind, len(items_of(record.get(name))))
    yield from tool_calls(items_of(record.get("tool_calls")), chat)
    # older, of one call
    yield from tool_calls(
        ({"function": call} for call in items_of(record.get("function_call"))), chat
    )
    yield RefusalPart(text=text_at(record, "refusal"))
    if record.get("error"):
        yield failure_of(record["error"])


def _content_part(part: object, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Count a part of another form than these as left out.

    A part is a text, or an object like `{"type": "text", "text": "Hello"}` or `{"type":
    "image_url", "image_url": {"url": "data:image/png;base64,…"}}`.
    """
    kind = text_at(part, "type")
    if kind in _TEXTS and (not isinstance(part, dict) or "text" in part):
        yield chat.read_text(part)
    elif kind in _IMAGES:
        # `image_url` may also be the address
        yield from chat.image_or_omit(
            text_at(part, "image_url", "url") or text_at(part, "image_url")
        )
    elif kind in _THOUGHTS:
        yield ReasoningPart(text=chat.read_text(at(part, "thinking") or part))
    elif kind == "refusal":
        yield RefusalPart(text=text_at(part, "refusal"))
    else:
        chat.omit(kind)


FORMAT = Format(
    fits=_fits,
    session=_session,
    # messages that follow each other are one chat
    continues=lambda record, chat: "messages" not in record and "messages" not in chat[0],
)
