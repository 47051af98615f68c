"""A JSON list of `{"role", "content"}`, as servers take it and many programs keep it, as a session."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from lmchat.domain.message import ChatMessage, Part, ReasoningPart, RefusalPart, Role, TextPart, ToolCallPart
from lmchat.domain.path import MessagePath
from lmchat.domain.session import Session, SessionHeader, title_from
from lmchat.formats.checks import Skipped

_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM, "function": Role.TOOL}
Said = tuple[Role, tuple[Part, ...], str]
"""Who speaks, what, and the model that is named for it."""
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def is_list(value: object) -> bool:
    """Whether a value of JSON is such a list, or an object that has one as its `messages`."""
    return isinstance(_rows(value), list)


def from_list(value: Any, *, moment: datetime) -> tuple[Session, tuple[Skipped, ...]]:
    """Return the session, and the rows that hold no message that can be read.

    The ids are made of what is said, so that the same list is the same session again.
    """
    said: list[Said] = []
    skipped: list[Skipped] = []
    for number, row in enumerate(_rows(value) or (), 1):
        reason, role, parts = _read(row)
        if reason:
            skipped.append(Skipped(where=f"message {number}", reason=reason))
        if role is not None and parts:
            said.append((role, parts, _word(row, "model")))
    head = value if isinstance(value, dict) else {}
    return _session(said, title=_word(head, "title"), model=_word(head, "model"), moment=moment), tuple(
        skipped
    )


def _rows(value: object) -> list[Any] | None:
    rows = value.get("messages") if isinstance(value, dict) else value
    return rows if isinstance(rows, list) else None


def _session(said: Sequence[Said], *, title: str, model: str, moment: datetime) -> Session:
    session_id = _identity(title, model, said)
    messages: list[ChatMessage] = []
    for number, (role, parts, name) in enumerate(said):
        messages.append(
            ChatMessage(
                message_id=_digest(f"{session_id} {number}"),
                role=role,
                parts=parts,
                created_at=moment,
                parent_id=messages[-1].message_id if messages else None,
                model=(name or model) if role is Role.ASSISTANT else "",
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
    """Return an id made of all that is said; it must never change, or a file would be imported twice."""
    digest = hashlib.sha256(json.dumps([title, model]).encode())
    for role, parts, name in said:
        digest.update(json.dumps([role, name, [_words_of(part) for part in parts]]).encode())
    return digest.hexdigest()[:16]


def _words_of(part: Part) -> list[str]:
    match part:
        case TextPart(text=text):
            return ["text", text]
        case ReasoningPart(text=text):
            return ["reasoning", text]
        case RefusalPart(text=text):
            return ["refusal", text]
        case ToolCallPart(call_id=call_id, name=name, arguments=arguments):
            return ["tool_call", call_id, name, arguments]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(row: Any) -> tuple[str, Role | None, tuple[Part, ...]]:
    """Return what was left out and why, who speaks, and the parts; no parts where there are none."""
    if not isinstance(row, dict):
        return "it is no object", None, ()
    role = _ROLES.get(_word(row, "role"))
    if role is None:
        return "its role is none of " + ", ".join(_ROLES), None, ()
    parts = [ReasoningPart(text=text) for text in map(row.get, _THOUGHTS) if isinstance(text, str) and text][
        :1
    ]
    found, left_out = _content(row.get("content"))
    refusal = _word(row, "refusal")
    all_parts: list[Part] = [*parts, *found, *_calls(row.get("tool_calls"))]
    if refusal:
        all_parts.append(RefusalPart(text=refusal))
    if not all_parts:
        return left_out or "it has no content that is text", role, ()
    return left_out, role, tuple(all_parts)


def _content(content: Any) -> tuple[list[Part], str]:
    """Return the texts of a content, and a word about what of it is no text."""
    if isinstance(content, str):
        return [TextPart(text=content)], ""
    if not isinstance(content, list):
        return [], ""
    texts = [_text_of(part) for part in content]
    others = texts.count(None)
    parts: list[Part] = [TextPart(text=text) for text in texts if text is not None]
    return parts, f"{others} of its parts {'is' if others == 1 else 'are'} no text" if others else ""


def _text_of(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else None


def _calls(calls: Any) -> Iterator[ToolCallPart]:
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments", "")
            yield ToolCallPart(
                call_id=_word(call, "id"),
                name=_word(function, "name"),
                arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
            )


def _word(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""
