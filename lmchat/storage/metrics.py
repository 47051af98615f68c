"""The counters of the proxy-client layer, added up over all runs and processes."""

from __future__ import annotations

from msgspec.structs import asdict, fields

from lmchat.domain.telemetry import Metrics
from lmchat.storage.connection import Connection
from lmchat.storage.database import Database

_NAMES = tuple(field.name for field in fields(Metrics))


class MetricsStore:
    """Keeps the counters; callers add what came since their last call, so that no process loses any."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Metrics:
        """Return the sums."""
        return await self._database.read(_read)

    async def add(self, delta: Metrics) -> Metrics:
        """Add to the sums and return them."""

        def job(connection: Connection) -> Metrics:
            connection.executemany(
                """insert into metrics (name, value) values (?, ?)
                    on conflict (name) do update set value = value + excluded.value""",
                [(name, value) for name, value in asdict(delta).items() if value],
            )
            return _read(connection)

        return await self._database.write(job)

    async def reset(self) -> None:
        """Begin again at nothing."""

        def job(connection: Connection) -> None:
            connection.execute("delete from metrics")

        await self._database.write(job)


def _read(connection: Connection) -> Metrics:
    values = {
        name: value for name, value in connection.execute("select name, value from metrics") if name in _NAMES
    }
    response_ms = float(values.pop("total_response_ms", 0.0))
    return Metrics(total_response_ms=response_ms, **{name: int(value) for name, value in values.items()})
