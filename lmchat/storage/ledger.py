"""The figures of every turn, without any content."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from statistics import median

from msgspec.structs import asdict, fields, replace

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
    return tuple(
        _row(datetime.fromisoformat(row[0]), dict(zip(_COLUMNS, row[1:], strict=True))) for row in rows
    )


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


def _row(ended_at: datetime, values: dict[str, object]) -> LedgerRow:
    texts = {name: loaded(value) if isinstance(value, bytes) else value for name, value in values.items()}
    row = LedgerRow(**texts)  # type: ignore[arg-type] # columns are the fields, by name
    return replace(row, ended_at=ended_at, is_estimated=bool(row.is_estimated))
