"""Conversion between rows of `sessions.db` and values.

Texts are written by `storable` and read by `text_from`: SQLite takes no text with lone surrogates,
so such a text is stored as bytes. A function that reads a damaged row logs that and returns None,
so that its caller leaves the row out.
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

from lmchat.matching import fold
from lmchat.sessions.message import (
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
from lmchat.sessions.session import SessionHeader
from lmchat.sessions.tokens import TokenProbabilities

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_YEARS = range(2, 9999)  # years whose times Python can convert to every time zone
# Name in the row of a `RefusalPart`, whose kind is `text`: a search treats both alike.
_REFUSED = "refused"
_MESSAGE_COUNT = """(select count(*) from messages m
    where m.session_id = sessions.session_id and m.hidden_by is null)"""
_HEADER_FIELDS = tuple(field.name for field in fields(SessionHeader))
# A column for each field, in the order of the fields; the messages are counted.
HEADER_COLUMNS = ", ".join(_HEADER_FIELDS).replace("message_count", _MESSAGE_COUNT)
_NOT_STORED = ("parts", "version", "versions")  # fields that are found by other rows
_MESSAGE_FIELDS = tuple(
    field.encode_name for field in fields(ChatMessage) if field.name not in _NOT_STORED
)
# Values of the fields of stats in which nothing was measured; such values are not stored.
_UNSET = asdict(AnswerStats())
# Columns with which rows of messages begin: the key of the row, then a column for each field.
MESSAGE_COLUMNS = ("number", *_MESSAGE_FIELDS)


# Texts and times


def storable(text: str) -> str | bytes:
    """Return text as SQLite can keep it: as bytes if it has lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def text_from(value: object) -> str:
    """Return the text of a stored value: the opposite of `storable`.

    Bytes that are damaged become replacement characters.
    """
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return value.decode(errors="replace")


def encodable(text: str) -> str:
    """Return a text that can be encoded: lone surrogates become question marks."""
    return text.encode(errors="replace").decode()


def folded(value: object) -> str:
    """Return a stored text in the form in which searches compare texts.

    `matching.fold` removes capitals and accents. Each run of white space becomes one blank, and
    white space at both ends is removed. The result can be encoded in UTF-8.
    """
    # a NUL may end a text in functions of SQLite
    return encodable(" ".join(fold(text_from(value)).replace("\0", " ").split()))


def searched_text(kind: str, text: object, name: object) -> str:
    """Return the text of a stored part that a search compares with its terms.

    It is the name of a file, the name and the arguments of a tool call, or the text of any other
    part.
    """
    match kind:
        case "file":
            return text_from(name)
        case "tool_call":
            return f"{text_from(name)} {text_from(text)}"
        case _:
            return text_from(text)


def searchable(kind: str, text: object, name: object) -> str:
    """Return the text of a stored part for the search index; triggers of the database call this.

    Two characters are added at its end, so that trigrams also begin at the last two characters of
    the text. A term shorter than a trigram is looked up by the trigrams that begin with it.
    """
    return f"{folded(searched_text(kind, text, name))}\n\n"


# Names of models and titles repeat from query to query.
_folded_name = lru_cache(maxsize=16 * 1024)(folded)


def contains(name: object, folded_term: str) -> bool:
    """Return whether a stored name, once folded, contains a folded term.

    This is the function `contains` of SQL queries.
    """
    return folded_term in _folded_name(name)


def stored_time(moment: datetime) -> str:
    """Return a moment as text in UTC; such texts sort by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


# Rows of sessions and messages


def column_value(value: object) -> object:
    """Return the value of a field of a message or a session as its column stores it.

    `_READERS` has the opposite for each column. Texts pass through `storable`, times become text in
    UTC, and tags (a tuple) become one text. Stats and failures become JSON; what was
    not measured is left out. Sampling options (a mapping) become JSON, or an
    empty text if there are none. Numbers, flags and None stay.
    """
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
) -> None:
    """Insert a row into a table.

    `values` has the values by the names of their columns. `conflict` is an `on conflict` clause of
    SQL.
    """
    placeholders = ", ".join("?" * len(values))
    statement = f"insert into {table} ({', '.join(values)}) values ({placeholders}) {conflict}"
    connection.execute(statement, tuple(values.values()))


def header_from(row: Sequence[Any]) -> SessionHeader | None:
    """Return the header in a row of the columns `HEADER_COLUMNS`; None for a damaged row."""
    try:
        return SessionHeader(**_field_values(_HEADER_FIELDS, row))
    except (ValueError, TypeError):
        _logger.warning("a damaged row of a session was left out: %r", row[0])  # the session id
        return None


def message_from(
    row: Sequence[Any], parts: Iterable[Part], *, version: int = 1, versions: int = 1
) -> ChatMessage | None:
    """Return the message in a row, with `parts`; None for a damaged row.

    The row begins with the columns `MESSAGE_COLUMNS`; further columns are ignored. `versions` says
    how many versions the message has, and `version` which of them it is, from 1.
    """
    try:
        _number, *columns = row  # the number is the key of the row, and no field
        values = _field_values(_MESSAGE_FIELDS, columns)
        stats = values.pop("receipt")  # this column has the field `stats`
        return ChatMessage(
            **values, stats=stats, parts=tuple(parts), version=version, versions=versions
        )
    except (ValueError, TypeError):
        _logger.warning("a damaged row of a message was left out: %r", row[1])  # the message id
        return None


def _field_values(names: Sequence[str], columns: Sequence[Any]) -> dict[str, Any]:
    """Return the values in the columns of a row by the names of their fields.

    Columns after the last name are ignored. Raises `ValueError` or `TypeError` for a damaged value.
    """
    values: dict[str, Any] = {}
    for name, stored in zip(names, columns, strict=False):
        values[name] = None if stored is None else _READERS[name](stored)
    return values


def time_from(value: object) -> datetime:
    """Return a stored time; raises `ValueError` if it cannot be shown in every time zone."""
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError("a time without its zone, or too near to the limits of the calendar")
    return moment


def _id(value: object) -> str:
    """Return a stored id; raises `TypeError` for a damaged one."""
    if not isinstance(value, str):
        raise TypeError("an id that is not text")
    return value


def _tags(value: object) -> tuple[str, ...]:
    return tuple(text_from(value).split())


def _sampling(value: object) -> dict[str, object]:
    """Return the sampling options of a session; none if the column is empty or damaged."""
    text = text_from(value)
    options = _from_json(dict[str, object], text) if text else None
    return options or {}


def _from_json(value_type: type[_T], text: str) -> _T | None:
    """Return a value of type `value_type` that is stored as JSON; None if it is damaged."""
    try:
        return convert(json.loads(text), value_type)
    except (ValueError, TypeError, RecursionError, ValidationError):
        _logger.warning("a damaged value was left out: %s", value_type)
        return None


# Conversion of a stored column by its name.
_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("session_id", "message_id", "parent_id"), _id),
    **dict.fromkeys(("created_at", "updated_at", "deleted_at"), time_from),
    **dict.fromkeys(("title", "model", "endpoint"), text_from),
    **dict.fromkeys(("is_pinned", "is_archived", "is_excluded"), bool),
    "message_count": int,
    "tags": _tags,
    "sampling": _sampling,
    "role": Role,
    "state": AnswerState,
    "receipt": partial(_from_json, AnswerStats),  # the field `stats`
    "failure": partial(_from_json, Failure),
}


# Rows of parts, and of the choices of tokens


def write_parts(connection: sqlite3.Connection, number: int, parts: Iterable[Part]) -> None:
    """Add rows for the parts of the message with this number."""
    for part in parts:
        match part:  # `row`: kind, text, call id and name
            case ToolCallPart(call_id=call_id, name=name, arguments=arguments):
                row = ("tool_call", arguments, call_id, name)
            case FilePart(digest=digest, name=name):
                # files have no call id; its column has the digest, to find the files in use
                row = ("file", json.dumps(to_builtins(part)), digest, name)
            case RefusalPart(text=text):
                row = ("text", text, "", _REFUSED)  # a search treats it like text
            case _:  # a text, a thought or a result: the tag of the class is the kind
                row = (str(part.__struct_config__.tag), part.text, "", "")
        columns = zip(("kind", "text", "call_id", "name"), map(storable, row), strict=True)
        insert(connection, "parts", {"number": number, **dict(columns)})


def read_parts(
    connection: sqlite3.Connection, where: str, values: Sequence[object]
) -> dict[int, list[Part]]:
    """Return the stored parts that fulfil a condition, by the number of their message.

    `where` is a condition of SQL with a question mark for each of `values`. The parts of a message
    are in their order. Damaged parts are left out. A message without parts is no key: such is a
    running answer, whose parts are in its file.
    """
    parts: defaultdict[int, list[Part]] = defaultdict(list)
    query = f"select number, kind, text, call_id, name from parts where {where} order by part_id"
    for number, kind, stored_text, call_id, name in connection.execute(query, values):
        text = text_from(stored_text)
        part: Part | None
        if kind == "tool_call":
            part = ToolCallPart(call_id=text_from(call_id), name=text_from(name), arguments=text)
        elif kind == "file":
            part = _from_json(FilePart, text)
        else:
            # The class of parts that hold only a text; None for a damaged kind. A refusal is stored
            # with the kind `text` and the name `_REFUSED`.
            part_type = TEXT_PARTS.get("refusal" if name == _REFUSED else kind)
            part = None if part_type is None else part_type(text=text)
        if part is None:
            _logger.warning("a damaged part was left out: %r", kind)
        else:
            parts[number].append(part)
    return dict(parts)


def packed_choices(choices: Sequence[TokenProbabilities]) -> bytes:
    """Return the choices of the tokens of an answer as they are stored: compressed MessagePack."""
    return zlib.compress(msgspec.msgpack.encode(choices))


def unpacked_choices(data: bytes) -> tuple[TokenProbabilities, ...]:
    """Return for each token of an answer what the model could have chosen.

    `data` is what `packed_choices` has returned. The result is empty if `data` is damaged.
    """
    try:
        return msgspec.msgpack.decode(zlib.decompress(data), type=tuple[TokenProbabilities, ...])
    except (zlib.error, msgspec.DecodeError, TypeError) as error:
        _logger.warning("the choices of an answer are damaged: %s", type(error).__name__)
        return ()
