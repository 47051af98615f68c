"""Figures of all turns, without any content."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from statistics import median

from msgspec import ValidationError, convert
from msgspec.structs import asdict, fields

from lmchat.domain.telemetry import LedgerRow, Metrics
from lmchat.storage.database import Connection, Database
from lmchat.storage.row_values import column, insert, loaded, stored_time

_RECENT = 2000  # turns that count for the speed of a model: servers and machines change
_LEDGER = [field.name for field in fields(LedgerRow)]
_COLUMNS = ", ".join("created_at" if name == "ended_at" else name for name in _LEDGER)


def add_row(connection: Connection, row: LedgerRow, moment: datetime) -> None:
    """Save the figures of a turn."""
    values = {name: column(value) for name, value in asdict(row).items()}
    values["created_at"] = values.pop("ended_at") or stored_time(moment)
    insert(connection, "ledger", values)


def rows_since(connection: Connection, moment: datetime | None) -> tuple[LedgerRow, ...]:
    """Return turns that ended since a moment, oldest first."""
    since = "" if moment is None else stored_time(moment)
    query = f"select {_COLUMNS} from ledger where created_at >= ? order by ledger_id"
    found: list[LedgerRow] = []
    for row in connection.execute(query, (since,)):
        values = (loaded(value) if isinstance(value, bytes) else value for value in row)
        with suppress(ValidationError):
            found.append(convert(dict(zip(_LEDGER, values, strict=True)), LedgerRow, strict=False))
    return tuple(found)


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


class MetricsStore:
    """Counters of all runs; callers add what is new, so that no process loses any."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Metrics:
        return await self._database.read(_read)

    async def add(self, delta: Metrics) -> Metrics:
        def job(connection: Connection) -> Metrics:
            connection.executemany(
                """insert into metrics (name, value) values (?, ?)
                    on conflict (name) do update set value = value + excluded.value""",
                [(name, value) for name, value in asdict(delta).items() if value],
            )
            return _read(connection)

        return await self._database.write(job)

    async def reset(self) -> None:
        await self._database.write(
            lambda connection: connection.execute("delete from metrics").close()
        )


def _read(connection: Connection) -> Metrics:
    return convert(
        dict(connection.execute("select name, value from metrics")), Metrics, strict=False
    )
