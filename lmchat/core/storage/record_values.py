"""Conversion between rows of `sessions.db` and values.

SQLite takes no lone surrogates, so `storable` makes bytes of such a text. A function that reads a
damaged row logs that and returns None; its caller leaves the row out.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TypeVar

import msgspec
from msgspec import ValidationError, convert, to_builtins
from msgspec.structs import asdict, fields

from lmchat.base.matching import without_accents
from lmchat.core.sessions.message import (
    TEXT_PARTS,
    AnswerState,
    AnswerStats,
    ChatMessage,
    Failure,
    FilePart,
    Part,
    RefusalPart,
    Role,
    ToolCallPart,
)
from lmchat.core.sessions.session import SessionHeader
from lmchat.core.sessions.tokens import TokenProbabilities

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_YEARS = range(2, 9999)  # that Python can convert to every time zone
_SHARED = 128  # latest ids or names of which equal ones are one string, to save memory
# of a `RefusalPart`, whose kind is `text`: a search treats both alike
_REFUSED = "refused"
_OTHERS = "call_others"  # kind of a row with further fields of a call, in front of it
_MESSAGE_COUNT = """(select count(*) from messages m
    where m.session_id = sessions.session_id and m.hidden_by is null)"""
_HEADER_FIELDS = tuple(field.name for field in fields(SessionHeader))
# the messages are counted
HEADER_COLUMNS = ", ".join(_HEADER_FIELDS).replace("message_count", _MESSAGE_COUNT)
_NOT_STORED = ("parts", "version", "versions")  # found by other rows
_MESSAGE_FIELDS = tuple(
    field.encode_name for field in fields(ChatMessage) if field.name not in _NOT_STORED
)
# nothing was measured: not stored
_UNSET = asdict(AnswerStats())
# the key, then a column for each field
MESSAGE_COLUMNS = ("number", *_MESSAGE_FIELDS)


# Texts and times


def storable(text: str) -> str | bytes:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def text_from(value: object) -> str:
    """Reverse `storable`; damaged bytes become replacement characters."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return value.decode(errors="replace")


def searchable_text(value: object) -> str:
    """Fold a stored text for searches; white space becomes single blanks."""
    # a NUL may end a text in functions of SQLite
    words = without_accents(text_from(value)).replace("\0", " ").split()
    return " ".join(words).encode(errors="replace").decode()  # without lone surrogates


def searched_text(kind: str, text: object, name: object) -> str:
    match kind:
        case "file":
            return text_from(name)
        case "tool_call":
            return f"{text_from(name)} {text_from(text)}"
        case _:
            return text_from(text)


def searchable(kind: str, text: object, name: object) -> str:
    """Make the text for the search index; triggers call this.

    Two line ends let trigrams start at its last two characters: a term shorter than a trigram is
    looked up by trigrams that start with it.
    """
    return f"{searchable_text(searched_text(kind, text, name))}\n\n"


# models and titles repeat from query to query
_folded_name = lru_cache(maxsize=16 * 1024)(searchable_text)


def contains(name: object, folded_term: str) -> bool:
    """The function `contains` of SQL queries."""
    return folded_term in _folded_name(name)


def stored_time(moment: datetime) -> str:
    """Return a text in UTC, which sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


# Rows of sessions and messages


def column_value(value: object) -> object:
    """Convert a field for its column; `_READERS` has the opposite."""
    match value:
        case str():
            return storable(value)
        case datetime():
            return stored_time(value)
        case tuple():
            return storable(" ".join(value))
        case AnswerStats():
            stats = asdict(value)
            return json.dumps({name: stats[name] for name in stats if stats[name] != _UNSET[name]})
        case Failure():
            return json.dumps(asdict(value))
        case Mapping():
            return json.dumps(dict(value)) if value else ""
        case _:
            return value


def insert(
    connection: sqlite3.Connection, table: str, values: Mapping[str, object], conflict: str = ""
) -> sqlite3.Cursor:
    """`conflict` is an `on conflict` clause, which may return values."""
    placeholders = ", ".join("?" * len(values))
    statement = f"insert into {table} ({', '.join(values)}) values ({placeholders}) {conflict}"
    return connection.execute(statement, tuple(values.values()))


def header_from(record: Sequence[Any]) -> SessionHeader | None:
    """`record` has the columns `HEADER_COLUMNS`."""
    try:
        return SessionHeader(**_field_values(_HEADER_FIELDS, record))
    except (ValueError, TypeError):
        _logger.warning("a damaged row of a session was left out: %r", record[0])
        return None


def message_from(
    record: Sequence[Any], parts: Iterable[Part], *, version: int = 1, versions: int = 1
) -> ChatMessage | None:
    """`record` starts with the columns `MESSAGE_COLUMNS`; further columns are ignored."""
    try:
        _number, *columns = record
        values = _field_values(_MESSAGE_FIELDS, columns)
        stats = values.pop("receipt")
        return ChatMessage(
            **values, stats=stats, parts=tuple(parts), version=version, versions=versions
        )
    except (ValueError, TypeError):
        _logger.warning("a damaged row of a message was left out: %r", record[1])
        return None


def _field_values(names: Sequence[str], columns: Sequence[Any]) -> dict[str, Any]:
    """Ignore further columns; raise `ValueError` or `TypeError` for damage."""
    return {
        name: None if stored is None else _READERS[name](stored)
        for name, stored in zip(names, columns, strict=False)
    }


def time_from(value: object) -> datetime:
    """Raises `ValueError` also for a time that some time zone cannot show."""
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError("a time without its zone, or too near to the limits of the calendar")
    return moment


@lru_cache(maxsize=_SHARED)
def _id(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("an id that is not text")
    return value


def _from_json(value_type: type[_T], text: str) -> _T | None:
    try:
        return convert(json.loads(text), value_type)
    except (ValueError, TypeError, RecursionError, ValidationError):
        _logger.warning("a damaged value was left out: %s", value_type)
        return None


_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("session_id", "message_id", "parent_id"), _id),
    **dict.fromkeys(("created_at", "updated_at", "deleted_at"), time_from),
    "title": text_from,
    **dict.fromkeys(("model", "endpoint"), lru_cache(maxsize=_SHARED)(text_from)),
    **dict.fromkeys(("is_pinned", "is_archived", "is_excluded"), bool),
    "message_count": int,
    "tags": lambda value: tuple(text_from(value).split()),
    "sampling": lambda value: _from_json(dict[str, object], text_from(value) or "{}") or {},
    "role": Role,
    "state": AnswerState,
    "receipt": partial(_from_json, AnswerStats),  # the field `stats`
    "failure": partial(_from_json, Failure),
}


# Rows of parts, and of the choices of tokens


def write_parts(connection: sqlite3.Connection, number: int, parts: Iterable[Part]) -> None:
    columns = ("kind", "text", "call_id", "name")
    for part in parts:
        others: tuple[str, ...] = ()
        match part:
            case ToolCallPart(call_id=call_id, name=name, arguments=arguments):
                record = ("tool_call", arguments, call_id, name)
                others = (_OTHERS, part.others, "", "") if part.others else ()
            case FilePart(digest=digest, name=name):
                # the column of the call id has the digest, to find the files in use
                record = ("file", json.dumps(to_builtins(part)), digest, name)
            case RefusalPart(text=text):
                record = ("text", text, "", _REFUSED)  # a search treats it like text
            case _:  # text, thought or result: the tag is the kind
                record = (str(part.__struct_config__.tag), part.text, "", "")
        for values in filter(None, (others, record)):
            stored = dict(zip(columns, map(storable, values), strict=True))
            insert(connection, "parts", {"number": number, **stored})


def read_parts(
    connection: sqlite3.Connection, where: str, values: Sequence[object]
) -> dict[int, list[Part]]:
    """Return parts by the number of their message, each in its order.

    Damaged parts are left out. A running answer, whose parts are in its file, is no key.
    """
    parts: defaultdict[int, list[Part]] = defaultdict(list)
    query = f"select number, kind, text, call_id, name from parts where {where} order by part_id"
    others = ""  # of the call in the next row
    for number, kind, stored_text, call_id, name in connection.execute(query, values):
        text = text_from(stored_text)
        part: Part | None
        if kind == _OTHERS:
            others = text
            continue
        if kind == "tool_call":
            part = ToolCallPart(
                call_id=text_from(call_id), name=text_from(name), arguments=text, others=others
            )
            others = ""
        elif kind == "file":
            part = _from_json(FilePart, text)
        else:
            # None for a damaged kind
            part_type = TEXT_PARTS.get("refusal" if name == _REFUSED else kind)
            part = None if part_type is None else part_type(text=text)
        if part is None:
            _logger.warning("a damaged part was left out: %r", kind)
        else:
            parts[number].append(part)
    return dict(parts)


def packed_choices(choices: Sequence[TokenProbabilities]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(choices))


def unpacked_choices(data: bytes) -> tuple[TokenProbabilities, ...]:
    """Empty if damaged."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(data), type=tuple[TokenProbabilities, ...])
    except (zlib.error, msgspec.DecodeError, TypeError) as error:
        _logger.warning("the choices of an answer are damaged: %s", type(error).__name__)
        return ()
