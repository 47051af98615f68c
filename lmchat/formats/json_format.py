"""A session as JSON, lossless: text as received, with escapes; and back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import asdict, fields

from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Failure,
    Part,
    ReasoningPart,
    Receipt,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
)
from lmchat.domain.message_path import MessagePath
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import FileRefused

FORMAT = 1
"""Version of this form, in the field `lmchat`."""


def to_json(session: Session) -> str:
    """Return all that is known of the chosen path; only ASCII, so that nothing in it acts on a terminal."""
    header = {name: _plain(value) for name, value in asdict(session.header).items()}
    messages = [_message(message) for message in session.messages]
    return json.dumps({"lmchat": FORMAT, "session": header, "messages": messages}, indent=2) + "\n"


def from_json(text: str) -> Session:
    """Read what `to_json` wrote.

    Raises:
        FileRefused: it is something else.
    """
    try:
        data = json.loads(text)
        if data["lmchat"] != FORMAT:
            raise FileRefused("This was exported by another version of lmchat.", hint="Update lmchat.")
        header = _known(data["session"], SessionHeader, ("created_at", "updated_at", "deleted_at"))
        messages = tuple(_read_message(message) for message in data["messages"])
        return Session(header=SessionHeader(**header), messages=MessagePath(messages))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileRefused("This is no session that lmchat exported as JSON.", details=repr(error)) from error


def _message(message: ChatMessage) -> dict[str, object]:
    values = {name: _plain(value) for name, value in asdict(message).items()}
    return values | {"parts": [_part(part) for part in message.parts]}


def _part(part: Part) -> dict[str, str]:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ReasoningPart(text=text):
            return {"type": "reasoning", "text": text}
        case RefusalPart(text=text):
            return {"type": "refusal", "text": text}
        case ToolCallPart(call_id=call_id, name=name, arguments=arguments):
            return {"type": "tool_call", "call_id": call_id, "name": name, "arguments": arguments}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Receipt() | Failure():
            return asdict(value)
        case _:
            return value


def _read_message(data: dict[str, Any]) -> ChatMessage:
    values = _known(data, ChatMessage, ("created_at",))
    return ChatMessage(
        **values
        | {
            "role": Role(data["role"]),
            "state": AnswerState(data["state"]),
            "parts": tuple(_read_part(part) for part in data["parts"]),
            "receipt": msgspec.convert(_known(data["receipt"], Receipt), Receipt)
            if data["receipt"]
            else None,
            "failure": Failure(**_known(data["failure"], Failure)) if data["failure"] else None,
        }
    )


def _read_part(data: dict[str, str]) -> Part:
    match data["type"]:
        case "text":
            return TextPart(text=data["text"])
        case "reasoning":
            return ReasoningPart(text=data["text"])
        case "refusal":
            return RefusalPart(text=data["text"])
        case "tool_call":
            return ToolCallPart(call_id=data["call_id"], name=data["name"], arguments=data["arguments"])
        case other:
            raise ValueError(other)


def _known(data: dict[str, Any], kind: type[Any], times: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields that this version knows, with times as times."""
    values = {field.name: data[field.name] for field in fields(kind) if field.name in data}
    read = {name: datetime.fromisoformat(values[name]) for name in times if values.get(name) is not None}
    return values | read
