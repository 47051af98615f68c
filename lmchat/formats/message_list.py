"""Import of a JSON list of `{"role", "content"}`, the format of chat APIs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from lmchat.domain.message import Part, ReasoningPart, RefusalPart, Role, TextPart, ToolCallPart
from lmchat.domain.session import Session, Skipped
from lmchat.formats.file_values import Record, text_in
from lmchat.formats.foreign import MOST_NAMED, ForeignChat, MessageFacts, MessagePiece, ToolRun

_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM, "function": Role.TOOL}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # fields


class _Row(Struct, frozen=True, kw_only=True):
    """Row of a list as it is read."""

    role: Role | None = None
    parts: tuple[Part, ...] = ()
    omission: str = ""  # why something of it is left out


def is_list(value: Any) -> bool:
    """Return whether a value is such a list, or has one as `messages`."""
    return any(text_in(row, "role") in _ROLES for row in _rows(value))


def from_list(value: Any, moment: datetime) -> Iterator[Session | Skipped]:
    """Yield the unreadable rows and the session; the ids are hashes of the messages."""
    title = text_in(value, "title")
    model = text_in(value, "model")
    hashed = hashlib.sha256(json.dumps([title, model]).encode())  # another one would import twice
    chat = ForeignChat(key="", title=title)
    waiting: list[ToolCallPart] = []
    omissions = 0
    rows = _rows(value)
    for number, record in enumerate(rows, 1):
        rows[number - 1] = None  # decoded JSON takes much memory
        row = _read(record)
        if row.omission:
            omissions += 1
            if omissions <= MOST_NAMED:
                yield Skipped(where=f"message {number}", reason=row.omission)
        if row.role is None or not row.parts:
            continue
        own_model = text_in(record, "model")
        hashed.update(json.dumps([row.role, own_model, msgspec.to_builtins(row.parts)]).encode())
        pieces: list[MessagePiece] = list(row.parts)
        if row.role is Role.ASSISTANT:
            waiting = [part for part in row.parts if isinstance(part, ToolCallPart)]
        elif row.role is Role.TOOL:
            pieces = [_tool_run(row.parts, record, waiting)]
        facts = MessageFacts(model=own_model or model)
        chat.add(str(len(chat.messages)), row.role, pieces, parent=chat.last, facts=facts)
    chat.session_id = hashed.hexdigest()[:16]
    yield from chat.finished(moment)


def tool_calls(calls: Any) -> Iterator[ToolCallPart]:
    """Yield the calls of a list as chat APIs have it."""
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments", "")
            yield ToolCallPart(
                call_id=text_in(call, "id"),
                name=text_in(function, "name"),
                arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
            )


def _rows(value: object) -> list[Any]:
    rows = value.get("messages") if isinstance(value, dict) else value
    return rows if isinstance(rows, list) else []


def _tool_run(parts: tuple[Part, ...], record: Record, waiting: list[ToolCallPart]) -> ToolRun:
    """Return a result with its call, by id or name, and take the call from those that wait."""
    call_id = text_in(record, "tool_call_id")
    name = text_in(record, "name") or text_in(record, "tool_name")
    call = ToolCallPart(call_id=call_id, name=name or "tool", arguments="")
    for number, candidate in enumerate(waiting):
        fits = candidate.call_id == call_id if call_id else name in ("", candidate.name)
        if fits:
            call = waiting.pop(number)
            break
    result = "".join(part.text for part in parts if isinstance(part, TextPart))
    return ToolRun(call=call, result=result)


def _read(record: Any) -> _Row:
    if not isinstance(record, dict):
        return _Row(omission="it is not an object")
    role = _ROLES.get(text_in(record, "role"))
    if role is None:
        return _Row(omission=f"its role is not one of {', '.join(_ROLES)}")
    parts: list[Part] = []
    thoughts = filter(None, (text_in(record, name) for name in _THOUGHTS))
    if thought := next(thoughts, ""):
        parts.append(ReasoningPart(text=thought))
    texts, omission = _texts(record.get("content"))
    parts += texts
    parts += tool_calls(record.get("tool_calls"))
    if refusal := text_in(record, "refusal"):
        parts.append(RefusalPart(text=refusal))
    if not parts:
        omission = omission or "it has no text content"
    return _Row(role=role, parts=tuple(parts), omission=omission)


def _texts(content: Any) -> tuple[list[TextPart], str]:
    """Return the texts of a content, and a note about other parts."""
    if isinstance(content, str):
        return [TextPart(text=content)], ""
    if not isinstance(content, list):
        return [], ""
    values = [part.get("text") if isinstance(part, dict) else part for part in content]
    texts = [TextPart(text=value) for value in values if isinstance(value, str)]
    others = len(values) - len(texts)
    if not others:
        return texts, ""
    return texts, f"{others} of its parts {'is' if others == 1 else 'are'} not text"
