"""Values of imported files, which may have any type."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

# of code that does not check each type
BAD_VALUE_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    msgspec.MsgspecError,
)
Record = dict[str, Any]  # object, or row of a database
EMPTY: tuple[object, ...] = (None, "", [], {})  # without content, so no omissions

# in every time zone, even with a long answer added
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
    """Return a list unchanged, nothing for an empty value, and others as a list of one."""
    if isinstance(value, list):
        return value
    return [] if value in EMPTY else [value]


def parsed(text: str | bytes) -> Any:
    """Decode JSON; return the text itself where it is none."""
    with suppress(ValueError, RecursionError):
        return whole_value(json.loads(text))
    return text


def time_of(value: object) -> datetime | None:
    """Read seconds or milliseconds since 1970, or ISO 8601; without a zone, UTC."""
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
    """Halves of surrogate pairs become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def whole_value(value: Any) -> Any:
    """Make all texts of a JSON value whole; raises `RecursionError`."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [whole_value(item) for item in value]
    if isinstance(value, dict):
        return {whole_value(key): whole_value(item) for key, item in value.items()}
    return value


def local_id(file_id: str, session_id: str = "") -> str:
    """Keep an id of lmchat's form, 16 hexadecimal digits; make a hash of any other.

    `session_id` goes into the hash of a message's id, since two chats may have the same ids. Hashes
    must stay the same in all versions: else files would be imported twice.
    """
    if _OWN_ID.fullmatch(file_id):
        return file_id
    text = f"{session_id} {file_id}" if session_id else file_id
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARS]
