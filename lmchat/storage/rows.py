"""Rows of `sessions.db` as values, and back; a damaged row is logged and left out."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

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
from lmchat.domain.session import SessionHeader

log = logging.getLogger(__name__)

_T = TypeVar("_T", Receipt, Failure)
_LARGEST = 2.0**53
_YEARS = range(2, 9999)
_REFUSED = "refused"
"""Name of a part of the kind `text` that is a refusal: whoever does not know it reads and finds its words."""

HEADER_COLUMNS = """session_id, title, created_at, updated_at, model, endpoint, is_pinned, is_archived,
    deleted_at, parent_id,
    (select count(*) from messages m where m.session_id = sessions.session_id and m.hidden_by is null),
    tags"""
MESSAGE_COLUMNS = "number, message_id, role, state, created_at, parent_id, model, endpoint, receipt, failure"


def stored(text: str) -> str | bytes:
    """Return what SQLite can keep: text with lone surrogates, which UTF-8 has no form for, goes as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def loaded(value: object) -> str:
    """Undo `stored`; a damaged byte costs itself alone."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return value.decode(errors="replace")


def stored_time(moment: datetime) -> str:
    """Return a moment as text that sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def header_from(row: Sequence[Any]) -> SessionHeader | None:
    """Return a header, or None for a damaged row."""
    try:
        return SessionHeader(
            session_id=_name(row[0]),
            title=loaded(row[1]),
            created_at=_time(row[2]),
            updated_at=_time(row[3]),
            model=loaded(row[4]),
            endpoint=loaded(row[5]),
            is_pinned=bool(row[6]),
            is_archived=bool(row[7]),
            deleted_at=None if row[8] is None else _time(row[8]),
            parent_id=None if row[9] is None else _name(row[9]),
            message_count=row[10],
            tags=tuple(loaded(row[11]).split()),
        )
    except (ValueError, TypeError, AttributeError):
        log.warning("a damaged row of a session was left out: %r", row[0])
        return None


def message_from(
    row: Sequence[Any], parts: Iterable[Part], *, version: int = 1, versions: int = 1
) -> ChatMessage | None:
    """Return a message, or None for a damaged row."""
    try:
        return ChatMessage(
            message_id=_name(row[1]),
            role=Role(row[2]),
            parts=tuple(parts),
            state=AnswerState(row[3]),
            created_at=_time(row[4]),
            parent_id=None if row[5] is None else _name(row[5]),
            model=loaded(row[6]),
            endpoint=loaded(row[7]),
            receipt=_from_json(row[8], Receipt),
            failure=_from_json(row[9], Failure),
            version=version,
            versions=versions,
        )
    except (ValueError, TypeError, AttributeError):
        log.warning("a damaged row of a message was left out: %r", row[1])
        return None


def json_of(value: Receipt | Failure | None) -> str | None:
    """Return a receipt or a failure as it is stored."""
    return None if value is None else json.dumps(asdict(value))


def write_parts(connection: sqlite3.Connection, number: int, parts: Iterable[Part]) -> None:
    """Add the parts of a message."""
    connection.executemany(
        "insert into parts (number, kind, text, call_id, name) values (?, ?, ?, ?, ?)",
        [(number, *_columns(part)) for part in parts],
    )


def read_parts(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> dict[int, list[Part]]:
    """Return parts by message; of answers that still stream there are none yet."""
    found: dict[int, list[Part]] = {}
    query = f"select number, kind, text, call_id, name from parts where {where} order by part_id"
    for number, *columns in connection.execute(query, values):
        part = _part(*columns)
        if part is not None:
            found.setdefault(number, []).append(part)
    return found


def _columns(part: Part) -> tuple[str, str | bytes, str | bytes, str | bytes]:
    match part:
        case TextPart(text=text):
            return "text", stored(text), "", ""
        case ReasoningPart(text=text):
            return "reasoning", stored(text), "", ""
        case RefusalPart(text=text):
            return "text", stored(text), "", _REFUSED
        case ToolCallPart(call_id=call_id, name=name, arguments=arguments):
            return "tool_call", stored(arguments), stored(call_id), stored(name)


def _part(kind: str, text: str | bytes, call_id: str | bytes, name: str | bytes) -> Part | None:
    try:
        match kind:
            case "text":
                return (RefusalPart if name == _REFUSED else TextPart)(text=loaded(text))
            case "reasoning":
                return ReasoningPart(text=loaded(text))
            case "tool_call":
                return ToolCallPart(call_id=loaded(call_id), name=loaded(name), arguments=loaded(text))
            case _:
                log.warning("a part of an unknown kind was left out: %r", kind)
    except ValueError:
        log.warning("a damaged part was left out")
    return None


def _time(value: object) -> datetime:
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError("a time without its zone, or one that other zones have no form for")
    return moment


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("an id that is no text")
    return value


def _from_json(raw: str | None, kind: type[_T]) -> _T | None:
    """Return what a message has beside its text; damaged, it costs itself, not the message.

    Only the fields that this version knows count: a newer one may have written more.
    """
    if raw is None:
        return None
    try:
        data, names = json.loads(raw), {field.name for field in fields(kind)}
        known = {name: value for name, value in data.items() if name in names and not _is_noise(value)}
        return msgspec.convert(known, kind)
    except (ValueError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError):
        log.warning("the damaged %s of a message was left out", kind.__name__.lower())
        return None


def _is_noise(value: object) -> bool:
    """Whether a figure is beyond all that can be meant, or none at all."""
    return isinstance(value, int | float) and not -_LARGEST < value < _LARGEST
