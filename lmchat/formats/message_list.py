"""Import of a JSON list of `{"role", "content"}`, the format of chat APIs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from lmchat.domain.message import (
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
)
from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import MOST_NAMED, word
from lmchat.formats.foreign import ForeignChat
from lmchat.formats.sources import Row

_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM, "function": Role.TOOL}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def is_list(value: Any) -> bool:
    """Return whether a value is such a list, or has one as `messages`."""
    return any(word(row, "role") in _ROLES for row in _rows(value))


def from_list(value: Any, moment: datetime) -> Iterator[Session | Skipped]:
    """Yield the unreadable rows and the session; the ids are hashes of the messages."""
    head = value if isinstance(value, dict) else {}
    title, model = word(head, "title"), word(head, "model")
    hashed = hashlib.sha256(
        json.dumps([title, model]).encode()
    )  # a change would import files twice
    chat = ForeignChat(source="", key="", title=title)
    waiting: list[ToolCallPart] = []
    unreadable = 0
    rows = _rows(value)
    for number, row in enumerate(rows, 1):
        rows[number - 1] = None  # decoded JSON takes much memory
        reason, role, parts = _read(row)
        unreadable += bool(reason)
        if reason and unreadable <= MOST_NAMED:
            yield Skipped(where=f"message {number}", reason=reason)
        if role is None or not parts:
            continue
        hashed.update(json.dumps([role, word(row, "model"), msgspec.to_builtins(parts)]).encode())
        if role is Role.ASSISTANT:
            waiting = [part for part in parts if isinstance(part, ToolCallPart)]
        steps = [_ran(parts, row, waiting)] if role is Role.TOOL else parts
        chat.add(
            str(len(chat.rows)), role, steps, parent=chat.last, model=word(row, "model") or model
        )
    chat.session_id = hashed.hexdigest()[:16]
    yield from chat.finished(moment)


def _rows(value: object) -> list[Any]:
    rows = value.get("messages") if isinstance(value, dict) else value
    return rows if isinstance(rows, list) else []


def _ran(
    parts: tuple[Part, ...], row: Row, waiting: list[ToolCallPart]
) -> tuple[ToolCallPart, str]:
    """Return a result with its call, by id or name, which waits no more."""
    call_id, name = word(row, "tool_call_id"), word(row, "name") or word(row, "tool_name")
    fitting = (
        one for one in waiting if (one.call_id == call_id if call_id else name in ("", one.name))
    )
    call = next(fitting, None) or ToolCallPart(call_id=call_id, name=name or "tool", arguments="")
    waiting[:] = [other for other in waiting if other is not call]
    return call, "".join(part.text for part in parts if isinstance(part, TextPart))


def _read(row: Any) -> tuple[str, Role | None, tuple[Part, ...]]:
    """Return the reason for an omission, the role, and the parts."""
    if not isinstance(row, dict):
        return "it is not an object", None, ()
    role = _ROLES.get(word(row, "role"))
    if role is None:
        return "its role is not one of " + ", ".join(_ROLES), None, ()
    thought = next((text for name in _THOUGHTS if (text := word(row, name))), "")
    parts: list[Part] = [ReasoningPart(text=thought)] if thought else []
    texts, left_out = _content(row.get("content"))
    parts += [*texts, *tool_calls(row.get("tool_calls"))]
    if refusal := word(row, "refusal"):
        parts.append(RefusalPart(text=refusal))
    if not parts:
        left_out = left_out or "it has no text content"
    return left_out, role, tuple(parts)


def _content(content: Any) -> tuple[list[TextPart], str]:
    """Return the texts of a content, and a note about other parts."""
    if isinstance(content, str):
        return [TextPart(text=content)], ""
    if not isinstance(content, list):
        return [], ""
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    parts = [TextPart(text=text) for text in texts if isinstance(text, str)]
    others = len(texts) - len(parts)
    return (
        parts,
        f"{others} of its parts {'is' if others == 1 else 'are'} not text" if others else "",
    )


def tool_calls(calls: Any) -> Iterator[ToolCallPart]:
    """Yield the calls of a list as chat APIs have it."""
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments", "")
            yield ToolCallPart(
                call_id=word(call, "id"),
                name=word(function, "name"),
                arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
            )
