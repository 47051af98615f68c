"""A session as JSON, lossless: text as received, with escapes; and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
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
from lmchat.domain.path import MessagePath
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import FileRefused
from lmchat.formats.checks import checked, checked_header
from lmchat.formats.writing import places

FORMAT = 1
"""Version of this form, in the field `lmchat`."""


def to_json(session: Session) -> str:
    """Return all that is known of a session; only ASCII, so that nothing in it acts on a terminal.

    `messages` is the chosen path. What of the tree is beside it stands in `branches`; then each message has
    its `place` in the order in which all of them were written. `branch_names` are by their first message.
    """
    order = places(session)
    header = {name: _plain(value) for name, value in asdict(session.header).items()}
    data: dict[str, object] = {
        "lmchat": FORMAT,
        "session": header,
        "messages": [_message(message, order) for message in session.messages],
    }
    if order:
        data["branches"] = [_message(message, order) for message in session.branches]
    if session.branch_names:
        data["branch_names"] = session.branch_names
    return json.dumps(data, indent=2) + "\n"


def from_json(text: str) -> Session:
    """Read what `to_json` wrote.

    Raises:
        FileRefused: it is something else, or a part of it is broken.
    """
    with _told("This text"):
        data = json.loads(text)
    return from_value(data)


def from_value(data: Any) -> Session:
    """Read a value of JSON that `to_json` wrote.

    Raises:
        FileRefused: it is something else, or a part of it is broken.
    """
    if not isinstance(data, dict) or data.get("lmchat") != FORMAT:
        raise FileRefused("This was exported by another version of lmchat.", hint="Update lmchat.")
    with _told("Its head"):
        times = ("created_at", "updated_at", "deleted_at")
        header = checked_header(SessionHeader(**_known(data["session"], SessionHeader, times)))
        names = msgspec.convert(data.get("branch_names", {}), dict[str, str])
        path, beside = list(data["messages"]), list(data.get("branches", ()))
    rows = [*_read_all(path, "Message"), *_read_all(beside, "Message of a branch")]
    messages = [message for _, message in rows]
    tree = sorted(rows, key=lambda row: row[0]) if beside else []
    return Session(
        header=header,
        messages=MessagePath(messages[: len(path)]),
        tree=tuple(message for _, message in tree),
        branch_names=names,
    )


def _read_all(rows: Iterable[Any], name: str) -> Iterator[tuple[int, ChatMessage]]:
    """Yield each message with its place."""
    for number, row in enumerate(rows, 1):
        with _told(f"{name} {number}"):
            yield int(row.get("place", 0)), checked(_read_message(row))


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Refuse what cannot be read, and say which part it is."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, msgspec.MsgspecError) as error:
        raise FileRefused(
            f"{name} is not as lmchat exported it.",
            hint="Export the session once more, or undo what was changed there.",
            details=repr(error),
        ) from error


def _message(message: ChatMessage, order: Mapping[str, int]) -> dict[str, object]:
    values = {name: _plain(value) for name, value in asdict(message).items()}
    place = {"place": order[message.message_id]} if message.message_id in order else {}
    return values | {"parts": [_part(part) for part in message.parts]} | place


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
