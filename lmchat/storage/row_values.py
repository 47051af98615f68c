"""Conversion of rows of `sessions.db`; a damaged row is logged and left out."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TypeVar

from msgspec import ValidationError, convert, to_builtins
from msgspec.structs import asdict, fields

from lmchat.domain.message import (
    TEXT_PARTS,
    AnswerState,
    ChatMessage,
    Failure,
    FilePart,
    Part,
    Receipt,
    RefusalPart,
    Role,
    ToolCallPart,
)
from lmchat.domain.session import SessionHeader
from lmchat.text import fold

log = logging.getLogger(__name__)

_T = TypeVar("_T", Receipt, Failure, FilePart)
_YEARS = range(2, 9999)
_REFUSED = "refused"
"""Name of a part of the kind `text` that is a refusal: older versions still show and find its words."""

_COUNT = "(select count(*) from messages m where m.session_id = sessions.session_id and m.hidden_by is null)"
_HEADER = [field.name for field in fields(SessionHeader)]
HEADER_COLUMNS = ", ".join(_COUNT if name == "message_count" else name for name in _HEADER)
_MESSAGE = [
    one.name for one in fields(ChatMessage) if one.name not in ("parts", "version", "versions")
]
MESSAGE_COLUMNS = ", ".join(("number", *_MESSAGE))


def stored(text: str) -> str | bytes:
    """Return text as SQLite can keep it: as bytes if it has lone surrogates, which UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def loaded(value: object) -> str:
    """Undo `stored`; a damaged byte is replaced."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return value.decode(errors="replace")


def encodable(text: str) -> str:
    """Return a text without lone surrogates."""
    return text.encode(errors="replace").decode()


def folded(value: object) -> str:
    """Return a text to compare: folded, in UTF-8, with one blank for all white space."""
    text = " ".join(fold(loaded(value)).replace("\0", " ").split())
    return text if text.isascii() else encodable(text)


_folded_name = lru_cache(maxsize=1 << 14)(folded)


def contains(name: object, wanted: str) -> bool:
    """Return whether a name contains a folded text, as a function of SQL; models and titles repeat."""
    return wanted in _folded_name(name)


def stored_time(moment: datetime) -> str:
    """Return a moment as text that sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def column(value: object) -> object:
    """Return a value of a message or a session as it is stored."""
    match value:
        case str():
            return stored(value)
        case datetime():
            return stored_time(value)
        case tuple():
            return stored(" ".join(value))
        case Receipt() | Failure():
            return json.dumps(asdict(value))
        case _:
            return value


def insert(
    connection: sqlite3.Connection, table: str, values: Mapping[str, object], conflict: str = ""
) -> None:
    """Insert a row of stored values."""
    marks = ", ".join("?" * len(values))
    statement = f"insert into {table} ({', '.join(values)}) values ({marks}) {conflict}"
    connection.execute(statement, tuple(values.values()))


def header_from(row: Sequence[Any]) -> SessionHeader | None:
    """Return a header, or None for a damaged row."""
    try:
        return SessionHeader(**_values(_HEADER, row))
    except (ValueError, TypeError):
        log.warning("a damaged row of a session was left out: %r", row[0])
        return None


def message_from(
    row: Sequence[Any], parts: Iterable[Part], *, version: int = 1, versions: int = 1
) -> ChatMessage | None:
    """Return a message, or None for a damaged row."""
    try:
        values = _values(_MESSAGE, row[1:])
        return ChatMessage(**values, parts=tuple(parts), version=version, versions=versions)
    except (ValueError, TypeError):
        log.warning("a damaged row of a message was left out: %r", row[1])
        return None


def _values(names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    pairs = zip(names, row, strict=False)
    return {name: value if value is None else _READERS[name](value) for name, value in pairs}


def write_parts(connection: sqlite3.Connection, number: int, parts: Iterable[Part]) -> None:
    """Add the parts of a message."""
    connection.executemany(
        "insert into parts (number, kind, text, call_id, name) values (?, ?, ?, ?, ?)",
        [(number, *columns_of(part)) for part in parts],
    )


def read_parts(
    connection: sqlite3.Connection, where: str, values: Sequence[object]
) -> dict[int, list[Part]]:
    """Return parts by message; of answers that still stream there are none yet."""
    found: dict[int, list[Part]] = {}
    query = f"select number, kind, text, call_id, name from parts where {where} order by part_id"
    for number, *columns in connection.execute(query, values):
        part = _part(*columns)
        if part is not None:
            found.setdefault(number, []).append(part)
    return found


def columns_of(part: Part) -> tuple[str, str | bytes, str | bytes, str | bytes]:
    """Return kind, text, id of a call or digest of a file, and name of a part, as they are stored."""
    if isinstance(part, ToolCallPart):
        return "tool_call", stored(part.arguments), stored(part.call_id), stored(part.name)
    if isinstance(part, RefusalPart):
        return "text", stored(part.text), "", _REFUSED
    if isinstance(part, FilePart):
        return "file", json.dumps(to_builtins(part)), stored(part.digest), stored(part.name)
    return str(part.__struct_config__.tag), stored(part.text), "", ""


def _part(kind: str, text: str | bytes, call_id: str | bytes, name: str | bytes) -> Part | None:
    if kind == "tool_call":
        return ToolCallPart(call_id=loaded(call_id), name=loaded(name), arguments=loaded(text))
    if kind == "file":
        return _from_json(FilePart, loaded(text))
    part = TEXT_PARTS.get("refusal" if name == _REFUSED else kind)
    if part is None:
        log.warning("a part of an unknown kind was left out: %r", kind)
    return None if part is None else part(text=loaded(text))


def _time(value: object) -> datetime:
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError("a time without its zone, or one that other zones have no form for")
    return moment


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("an id that is not text")
    return value


def _from_json(kind: type[_T], raw: str) -> _T | None:
    try:
        return convert(json.loads(raw), kind)
    except (ValueError, TypeError, RecursionError, ValidationError):
        log.warning("the damaged %s of a message was left out", kind.__name__.lower())
        return None


_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("session_id", "message_id", "parent_id"), _name),
    **dict.fromkeys(("created_at", "updated_at", "deleted_at"), _time),
    **dict.fromkeys(("title", "model", "endpoint"), loaded),
    **dict.fromkeys(("is_pinned", "is_archived"), bool),
    "message_count": int,
    "tags": lambda value: tuple(loaded(value).split()),
    "role": Role,
    "state": AnswerState,
    "receipt": partial(_from_json, Receipt),
    "failure": partial(_from_json, Failure),
}
