"""Values of imported files, which may have any type."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

# Errors of code that reads values of wrong types without checking each type.
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

# Years whose times can be shown in every time zone, even with the duration of a long answer added.
_SHOWABLE_YEARS = range(1970, 9000)
_FIRST_MS = 1e11  # larger numbers are milliseconds; as seconds they would be after the year 5000


def text_in(record: Any, name: str) -> str:
    """Return the text in a field; empty if there is no record, no such field, or no text."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, str) else ""


def record_in(record: Any, name: str) -> Record:
    """Return the record in a field; empty if there is no record, no such field, or none in it."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def items_of(value: Any) -> list[Any]:
    """Return a list unchanged, nothing for an empty value, and any other value as a list of one."""
    if isinstance(value, list):
        return value
    return [] if value in EMPTY else [value]


def number_in(record: Any, name: str) -> float:
    """Return the number in a field; 0 if there is no record, no such field, or no number."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, int | float) else 0


def time_of(value: object) -> datetime | None:
    """Return the time that a value gives in seconds or milliseconds since 1970, or in ISO 8601.

    A time without a zone is in UTC. Return None for any other value.
    """
    # `OSError` is raised for a number that the system cannot take.
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
