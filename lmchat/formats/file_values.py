"""Access to values of imported files, which may have any type."""

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
"""Errors of code that reads values of wrong types without checking each type."""
NO_JSON = (ValueError, RecursionError)
"""Errors of decoding what is no JSON, or has too many brackets within each other."""
# Other times cannot be shown in every time zone, or not together with the time of a long answer.
_SHOWABLE_YEARS = range(1970, 9000)
_FIRST_MS = 1e11  # larger numbers are milliseconds; as seconds they would be after the year 5000
Record = dict[str, Any]
"""JSON object, or row of a database."""


def text_in(record: Any, field: str) -> str:
    """Return the text in a field; empty if there is no record, no such field, or no text."""
    return text_or_empty(record.get(field)) if isinstance(record, dict) else ""


def text_or_empty(value: object) -> str:
    """Return a text unchanged, and an empty text for any other value."""
    return value if isinstance(value, str) else ""


def record_in(record: Any, field: str) -> Record:
    """Return the record in a field; empty if there is no record, no such field, or none in it."""
    value = record.get(field) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def number_in(record: Any, field: str) -> float:
    """Return the number in a field; 0 if there is no record, no such field, or no number."""
    value = record.get(field) if isinstance(record, dict) else None
    return value if isinstance(value, int | float) else 0


def json_of(text: Any) -> Any:
    """Return the value of a text in JSON; None for anything else."""
    with suppress(TypeError, *NO_JSON):
        return json.loads(text)
    return None


def time_of(value: object) -> datetime | None:
    """Return the time of seconds or milliseconds since 1970 or of a text in ISO 8601.

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
