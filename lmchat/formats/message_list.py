"""Import of a JSON list of `{"role", "content"}`, the format of chat APIs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from lmchat.formats.file_values import Record, record_in, text_in
from lmchat.formats.foreign import ForeignChat, ForeignPart, MessageMetadata, ToolRun
from lmchat.formats.normalizing import ID_CHARS
from lmchat.sessions.message import (
    FilePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
)
from lmchat.sessions.session import Session, Skipped

_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM, "function": Role.TOOL}
_MOST_NAMED = 900  # messages left out that are named; the others are counted
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


class _Row(Struct, frozen=True, kw_only=True):
    """Message of a list; without role or parts it is not imported."""

    role: Role | None = None
    parts: tuple[Part, ...] = ()
    omission: str = ""  # reason why the message, or a part of it, is left out


def is_list(value: Any) -> bool:
    """Return whether a value is a list of messages, or an object with one in `messages`.

    One item with a known role is enough.
    """
    return any(text_in(record, "role") in _ROLES for record in _records(value))


def from_list(value: Any, moment: datetime) -> Iterator[Session | Skipped]:
    """Yield a `Skipped` for each message that is left out in part or whole, then the session.

    There is no session without a prompt or answer. The items of the list are set to None one after
    the other, because decoded JSON takes much memory. The id of the session is a hash of its
    messages, so that the same list is imported only once. `moment` is the time of the session.
    """
    title = text_in(value, "title")
    model = text_in(value, "model")
    # With another hash or other content, a list that was imported before would be imported again.
    content_hash = hashlib.sha256(json.dumps([title, model]).encode())
    chat = ForeignChat(key="", title=title)
    open_calls: list[ToolCallPart] = []  # calls of the last answer that have no result yet
    omission_count = 0
    records = _records(value)
    for number, record in enumerate(records, 1):
        records[number - 1] = None
        row = _read_row(record, chat)
        if row.omission:
            omission_count += 1
            if omission_count <= _MOST_NAMED:
                yield Skipped(where=f"message {number}", reason=row.omission)
        if row.role is None or not row.parts:
            continue
        own_model = text_in(record, "model")
        hashed_row = [row.role, own_model, msgspec.to_builtins(row.parts)]
        content_hash.update(json.dumps(hashed_row).encode())

        parts: list[ForeignPart] = list(row.parts)
        if row.role is Role.ASSISTANT:
            open_calls = [part for part in row.parts if isinstance(part, ToolCallPart)]
        elif row.role is Role.TOOL:
            parts = [_take_tool_run(row.parts, record, open_calls)]
        metadata = MessageMetadata(model=own_model or model)
        chat.add(str(len(chat.messages)), row.role, parts, parent=chat.last_key, metadata=metadata)
    if omission_count > _MOST_NAMED:
        where = f"{omission_count - _MOST_NAMED} more messages"
        yield Skipped(where=where, reason="they are damaged or incomplete")
    chat.session_id = content_hash.hexdigest()[:ID_CHARS]
    yield from chat.finish(moment)


def tool_calls(calls: Any) -> Iterator[ToolCallPart]:
    """Yield the calls of a list as chat APIs have it; other values are left out.

    A call is like `{"id": "1", "function": {"name": "add", "arguments": "{}"}}`.
    """
    if not isinstance(calls, list):
        return
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments", "")
            yield ToolCallPart(
                call_id=text_in(call, "id"),
                name=text_in(function, "name"),
                arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
            )


def _records(value: object) -> list[Any]:
    """Return a list, or the list `messages` of an object; an empty one for any other value."""
    records = value.get("messages") if isinstance(value, dict) else value
    return records if isinstance(records, list) else []


def _take_tool_run(
    parts: tuple[Part, ...], record: Record, open_calls: list[ToolCallPart]
) -> ToolRun:
    """Return the result of a tool message with its call, and remove the call from `open_calls`.

    If the message names the id of its call, that call is taken. Otherwise it is the first call of
    the tool that the message names or, without a name, the first call. If there is no such call,
    the result gets one without arguments.
    """
    call_id = text_in(record, "tool_call_id")
    name = text_in(record, "name") or text_in(record, "tool_name")
    call = ToolCallPart(call_id=call_id, name=name or "tool", arguments="")
    for index, candidate in enumerate(open_calls):
        has_id = candidate.call_id == call_id
        has_name = not name or candidate.name == name
        is_called = has_id if call_id else has_name
        if is_called:
            call = open_calls.pop(index)
            break
    result = "".join(part.text for part in parts if isinstance(part, TextPart))
    return ToolRun(call=call, result=result)


def _read_row(record: Any, chat: ForeignChat) -> _Row:
    """Return the role and parts of a record, and the reason if it or a part of it is left out.

    The content of images is added to `chat`.
    """
    if not isinstance(record, dict):
        return _Row(omission="it is not an object")
    role = _ROLES.get(text_in(record, "role"))
    if role is None:
        return _Row(omission=f"its role is not one of {', '.join(_ROLES)}")

    parts: list[Part] = []
    for field in _REASONING_FIELDS:
        thought = text_in(record, field)
        if thought:
            parts.append(ReasoningPart(text=thought))
            break
    contents, omission = _contents_and_omission(record.get("content"), role, chat)
    parts += contents
    parts += tool_calls(record.get("tool_calls"))
    refusal = text_in(record, "refusal")
    if refusal:
        parts.append(RefusalPart(text=refusal))
    if not parts and not omission:
        omission = "it has no text content"
    return _Row(role=role, parts=tuple(parts), omission=omission)


def _contents_and_omission(
    content: Any, role: Role, chat: ForeignChat
) -> tuple[list[TextPart | FilePart], str]:
    """Return the texts and images of a content, and the reason why parts of it are left out.

    A content is a text, or a list of texts, of parts like `{"type": "text", "text": "Hello"}`, and
    of images like `{"type": "image_url", "image_url": {"url": "data:image/png;base64,…"}}`.
    """
    if isinstance(content, str):
        return [TextPart(text=content)], ""
    if not isinstance(content, list):
        return [], ""
    contents: list[TextPart | FilePart] = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        url = text_in(record_in(part, "image_url"), "url") or text_in(part, "image_url")
        if isinstance(text, str):
            contents.append(TextPart(text=text))
        elif role is not Role.TOOL and (image := chat.add_image(url)):  # a result is only text
            contents.append(image)
    other_count = len(content) - len(contents)
    if not other_count:
        return contents, ""
    verb = "is" if other_count == 1 else "are"
    return contents, f"{other_count} of its parts {verb} neither text nor an image in the file"
