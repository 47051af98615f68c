"""Counters of all runs, in `sessions.db`."""

from __future__ import annotations

import logging
from typing import Any

from msgspec import ValidationError, convert
from msgspec.structs import asdict, fields

from lmchat.sessions.stats import Metrics
from lmchat.storage.connection import Connection
from lmchat.storage.database import Jobs, reading, writing

log = logging.getLogger(__name__)


class MetricsStore:
    """Counters of all runs of lmchat.

    Callers add the difference since their last call. If they wrote sums, what another process has
    added would be lost.
    """

    def __init__(self, database: Jobs) -> None:
        self.database = database

    @reading
    def load(self, connection: Connection) -> Metrics:
        return _read(connection)

    @writing
    def add(self, connection: Connection, delta: Metrics) -> Metrics:
        """Add the values of `delta` to the counters, and return the new sums."""
        connection.executemany(
            """insert into metrics (name, value) values (?, ?)
                on conflict (name) do update set value = value + excluded.value""",
            [(name, value) for name, value in asdict(delta).items() if value],
        )
        return _read(connection)

    @writing
    def reset(self, connection: Connection) -> None:
        connection.execute("delete from metrics")


def _read(connection: Connection) -> Metrics:
    """Return the sums of all counters; one without a row, or with a damaged one, is 0."""
    values = dict(connection.execute("select name, value from metrics"))
    counters: dict[str, Any] = {}
    for field in fields(Metrics):
        try:
            counters[field.name] = convert(values.get(field.name, 0), field.type, strict=False)
        except ValidationError:
            log.warning("the damaged counter %s was left out", field.name)
    return Metrics(**counters)
