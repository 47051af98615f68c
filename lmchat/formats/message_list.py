"""Import of a JSON list of `{"role", "content"}`, the format of chat APIs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from lmchat.domain.message import (
    ChatMessage,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.domain.session import MessagePath, Session, SessionHeader, Skipped, title_from
from lmchat.formats.checks import MOST_NAMED, digest, word

_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM, "function": Role.TOOL}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
Said = tuple[Role, tuple[Part, ...], dict[str, Any]]  # with the row


def is_list(value: Any) -> bool:
    """Return whether a value is such a list, or has one as `messages`."""
    return isinstance(_rows(value), list)


def from_list(value: Any, moment: datetime) -> tuple[Session, list[Skipped]]:
    """Return the session and the unreadable rows; the ids are hashes of the messages."""
    said: list[Said] = []
    skipped: list[Skipped] = []
    for number, row in enumerate(_rows(value) or (), 1):
        reason, role, parts = _read(row)
        if reason and len(skipped) < MOST_NAMED:
            skipped.append(Skipped(where=f"message {number}", reason=reason))
        if role is not None and parts:
            said.append((role, parts, row))
    return _session(said, value if isinstance(value, dict) else {}, moment), skipped


def _rows(value: object) -> list[Any] | None:
    rows = value.get("messages") if isinstance(value, dict) else value
    return rows if isinstance(rows, list) else None


def _session(said: Sequence[Said], head: dict[str, Any], moment: datetime) -> Session:
    title, model = word(head, "title"), word(head, "model")
    session_id = _identity(title, model, said)
    messages: list[ChatMessage] = []
    waiting: list[ToolCallPart] = []
    for number, (role, parts, row) in enumerate(said):
        if role is Role.ASSISTANT:
            waiting = [part for part in parts if isinstance(part, ToolCallPart)]
        messages.append(
            ChatMessage(
                message_id=digest(f"{session_id} {number}"),
                role=role,
                parts=_ran(parts, row, waiting) if role is Role.TOOL else parts,
                created_at=moment,
                parent_id=messages[-1].message_id if messages else None,
                model=(word(row, "model") or model) if role is Role.ASSISTANT else "",
            )
        )
    first = next((message.text for message in messages if message.role is Role.USER), "")
    header = SessionHeader(
        session_id=session_id,
        title=title or title_from(first),
        created_at=moment,
        updated_at=moment,
        model=next((message.model for message in reversed(messages) if message.model), ""),
    )
    return Session(header=header, messages=MessagePath(messages))


def _identity(title: str, model: str, said: Sequence[Said]) -> str:
    """Return the hash of all messages; a change of it would import files twice."""
    hashed = hashlib.sha256(json.dumps([title, model]).encode())
    for role, parts, row in said:
        hashed.update(json.dumps([role, word(row, "model"), msgspec.to_builtins(parts)]).encode())
    return hashed.hexdigest()[:16]


def _ran(parts: tuple[Part, ...], row: dict[str, Any], waiting: list[ToolCallPart]) -> tuple[Part, ...]:
    """Return a result with its call, by id or name, which waits no more."""
    call_id, name = word(row, "tool_call_id"), word(row, "name") or word(row, "tool_name")
    fitting = (one for one in waiting if (one.call_id == call_id if call_id else name in ("", one.name)))
    call = next(fitting, None) or ToolCallPart(call_id=call_id, name=name or "tool", arguments="")
    waiting[:] = [other for other in waiting if other is not call]
    return call, ToolResultPart(text="".join(part.text for part in parts if isinstance(part, TextPart)))


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
    return parts, f"{others} of its parts {'is' if others == 1 else 'are'} not text" if others else ""


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
