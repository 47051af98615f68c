"""The figures of every turn, without any content."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from statistics import median

from msgspec import ValidationError, convert
from msgspec.structs import asdict, fields

from lmchat.domain.telemetry import LedgerRow
from lmchat.storage.connection import Connection
from lmchat.storage.rows import loaded, stored, stored_time

_RECENT = 2000
"""Turns that count for the speed of a model: servers and machines change."""
_COLUMNS = tuple(field.name for field in fields(LedgerRow) if field.name != "ended_at")


def add_row(connection: Connection, row: LedgerRow, moment: datetime) -> None:
    """Keep the figures of a turn."""
    values = asdict(row)
    texts = {name: stored(value) if isinstance(value, str) else value for name, value in values.items()}
    connection.execute(
        f"insert into ledger (created_at, {', '.join(_COLUMNS)}) values (?{', ?' * len(_COLUMNS)})",
        (stored_time(row.ended_at or moment), *(texts[name] for name in _COLUMNS)),
    )


def rows_since(connection: Connection, moment: datetime | None) -> tuple[LedgerRow, ...]:
    """Return turns that ended since a moment, oldest first."""
    since = "" if moment is None else stored_time(moment)
    rows = connection.execute(
        f"select created_at, {', '.join(_COLUMNS)} from ledger where created_at >= ? order by ledger_id",
        (since,),
    )
    found = (_row(row[0], dict(zip(_COLUMNS, row[1:], strict=True))) for row in rows)
    return tuple(row for row in found if row is not None)


def speeds(connection: Connection) -> Mapping[tuple[str, str], float]:
    """Return median tokens per second by endpoint and model."""
    found: dict[tuple[str, str], list[float]] = {}
    rows = connection.execute(
        """select endpoint, model, tokens_per_second from ledger
            where tokens_per_second is not null order by ledger_id desc limit ?""",
        (_RECENT,),
    )
    for endpoint, model, speed in rows:
        found.setdefault((loaded(endpoint), loaded(model)), []).append(speed)
    return {key: median(values) for key, values in found.items()}


def _row(ended_at: object, values: dict[str, object]) -> LedgerRow | None:
    """Return a turn; None for one that is damaged."""
    texts = {name: loaded(value) if isinstance(value, bytes) else value for name, value in values.items()}
    texts |= {"is_estimated": bool(values["is_estimated"]), "ended_at": ended_at}
    try:
        row = convert(texts, LedgerRow)
    except ValidationError:
        return None
    return row if row.ended_at is not None and row.ended_at.tzinfo is not None else None
