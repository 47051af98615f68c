"""Values of imported files, which may have any type."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

# of code that reads values of wrong types without checking each type
BAD_VALUE_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    msgspec.MsgspecError,
)
Record = dict[str, Any]  # JSON object, or row of a database
EMPTY: tuple[object, ...] = (None, "", [], {})  # values without content are no omissions

# shown in every time zone, even with the duration of a long answer added
_SHOWABLE_YEARS = range(1970, 9000)
_FIRST_MS = 1e11  # larger numbers are milliseconds; as seconds they would be after the year 5000
_OWN_ID = re.compile(r"[0-9a-f]{16}")
_ID_CHARS = 16


def at(value: Any, *path: str | int) -> Any:
    for key in path:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def text_at(value: Any, *path: str | int) -> str:
    text = at(value, *path)
    return text if isinstance(text, str) else ""


def items_of(value: Any) -> list[Any]:
    """Return a list unchanged, nothing for an empty value, and any other value as a list of one."""
    if isinstance(value, list):
        return value
    return [] if value in EMPTY else [value]


def parsed(text: str | bytes) -> Any:
    """Return the value of JSON in a text or a file; the text itself where it is no JSON."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


def time_of(value: object) -> datetime | None:
    """Return the time that a value gives in seconds or milliseconds since 1970, or in ISO 8601.

    A time without a zone is in UTC.
    """
    # `OSError`: a number that the system cannot take
    with suppress(*BAD_VALUE_ERRORS, OSError):
        if isinstance(value, str):
            return checked_time(datetime.fromisoformat(value))
        if isinstance(value, int | float):
            seconds = value / 1000 if value > _FIRST_MS else value
            return checked_time(datetime.fromtimestamp(seconds, UTC))
    return None


def checked_time(time: datetime) -> datetime:
    """Return a time with a zone, UTC by default; raises `ValueError` for a year out of range."""
    if time.year not in _SHOWABLE_YEARS:
        raise ValueError("a time out of range")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def whole_text(text: str) -> str:
    """Return a text in which halves of surrogate pairs are U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def local_id(file_id: str, session_id: str = "") -> str:
    """Return an id of lmchat's form, 16 hexadecimal digits, unchanged; any other id as a hash.

    `session_id` goes into the hash of a message's id, since two chats may have the same ids. Hashes
    must stay the same in all versions: otherwise files would be imported twice.
    """
    if _OWN_ID.fullmatch(file_id):
        return file_id
    text = f"{session_id} {file_id}" if session_id else file_id
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARS]
