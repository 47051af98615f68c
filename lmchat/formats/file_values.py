"""Values of imported files, which may have any type."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

BAD_VALUE_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""Errors of code that reads values of wrong types."""
NO_JSON = (ValueError, RecursionError)  # errors of decoding; the latter of deep brackets
_YEARS = range(1970, 9999)  # other times cannot be shown in every time zone
_FIRST_MS = 1e11  # larger numbers are milliseconds; as seconds they would be after the year 5000
Record = dict[str, Any]
"""JSON object, or row of a database."""


def text_in(record: Any, name: str) -> str:
    """Return a text of a record, or no text."""
    return text_or_empty(record.get(name)) if isinstance(record, dict) else ""


def text_or_empty(value: object) -> str:
    """Return a text as it is, and no text for any other value."""
    return value if isinstance(value, str) else ""


def record_in(record: Any, name: str) -> Record:
    """Return a record in a record, or an empty one."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def json_of(text: Any) -> Any:
    """Return the value of a text in JSON; None for any other value."""
    with suppress(TypeError, *NO_JSON):
        return json.loads(text)
    return None


def number_in(record: Any, name: str) -> float:
    """Return a number of a record, or 0."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, int | float) else 0


def time_of(value: object) -> datetime | None:
    """Read seconds, milliseconds or ISO 8601, UTC by default; None for any other value."""
    with suppress(*BAD_VALUE_ERRORS, OSError):  # the latter of a number that the system cannot take
        if isinstance(value, str):
            return checked_time(datetime.fromisoformat(value))
        if isinstance(value, int | float):
            seconds = value / 1000 if value > _FIRST_MS else value
            return checked_time(datetime.fromtimestamp(seconds, UTC))
    return None


def checked_time(time: datetime) -> datetime:
    """Return a time with a zone, UTC by default; raises `ValueError` if it cannot be shown."""
    if time.year not in _YEARS:
        raise ValueError("a time out of range")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
