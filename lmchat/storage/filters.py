"""Filters inside a search, such as `role:you` and `after:2026-11-01`; what is none stays a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, tzinfo

from msgspec import Struct

from lmchat.domain.message import Role
from lmchat.storage.query import pattern
from lmchat.storage.rows import stored_time

_FILTER = re.compile(r'(?<!\S)(model|role|before|after|title|has):(?:"([^"]+)"|([^\s"]\S*))', re.IGNORECASE)
_FENCES = ("```", "~~~")
_MOST = 50
"""Filters in a search; those behind them are left out, for SQLite refuses a thousand."""
_ROLES = {"you": Role.USER, "me": Role.USER, "model": Role.ASSISTANT} | {str(role): role for role in Role}


class Condition(Struct, frozen=True, kw_only=True):
    """One filter as SQL over the names that the search gives its tables."""

    sql: str
    """With places for the values."""
    values: tuple[str, ...] = ()
    """What to bind."""
    has_any: tuple[str, ...] = ()
    """What the text must have one of; empty where it says nothing of the text."""
    session_ids: str = ""
    """What asks, with the same values, for the sessions that pass; empty where it is not about sessions."""


def take_filters(text: str, *, zone: tzinfo | None = None) -> tuple[str, tuple[Condition, ...]]:
    """Return a search without its filters, and the filters; days are of a zone, none is this machine's."""
    conditions: list[Condition] = []

    def take(match: re.Match[str]) -> str:
        if len(conditions) == _MOST:
            return " "
        condition = _READERS[match[1].lower()](match[2] or match[3], zone)
        if condition is None:
            return match[0]
        conditions.append(condition)
        return " "

    rest = _FILTER.sub(take, text)
    return rest, tuple(conditions)


def _model(value: str, _zone: tzinfo | None) -> Condition:
    return Condition(sql=_like("m.model"), values=(pattern(value),) * 2)


def _title(value: str, _zone: tzinfo | None) -> Condition:
    ids = f"select session_id from sessions where {_like('title')}"
    return Condition(sql=f"+m.session_id in ({ids})", values=(pattern(value),) * 2, session_ids=ids)


def _like(column: str) -> str:
    """Return a comparison with two patterns; SQLite itself compares what is in ASCII, thrice as fast."""
    other = f"typeof({column}) <> 'text' or {column} glob '*[^ -~]*'"
    folded = f"fold(cast({column} as blob)) like ? escape '\\'"
    return f"({column} like ? escape '\\' or (({other}) and {folded}))"


def _role(value: str, _zone: tzinfo | None) -> Condition | None:
    role = _ROLES.get(value.lower())
    return None if role is None else Condition(sql="m.role = ?", values=(role,))


def _before(value: str, zone: tzinfo | None) -> Condition | None:
    day = _day(value, zone)
    return None if day is None else Condition(sql="m.created_at < ?", values=(day,))


def _after(value: str, zone: tzinfo | None) -> Condition | None:
    day = _day(value, zone)
    return None if day is None else Condition(sql="m.created_at >= ?", values=(day,))


def _has(value: str, _zone: tzinfo | None) -> Condition | None:
    if value.lower() != "code":
        return None
    tests = " or ".join(f"p.text like '%{fence}%'" for fence in _FENCES)
    return Condition(sql=f"(p.kind = 'text' and ({tests}))", has_any=_FENCES)


def _day(value: str, zone: tzinfo | None) -> str | None:
    """Return the beginning of a day, or a moment, as it is stored; None where it is neither."""
    try:
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo is not None else _at(moment, zone)
        return stored_time(aware)
    except (ValueError, OverflowError):
        return None


def _at(moment: datetime, zone: tzinfo | None) -> datetime:
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)


_READERS: dict[str, Callable[[str, tzinfo | None], Condition | None]] = {
    "model": _model,
    "title": _title,
    "role": _role,
    "before": _before,
    "after": _after,
    "has": _has,
}
