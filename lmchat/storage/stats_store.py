"""Statistics in `sessions.db`: one record for each answer, and counters of all runs.

The records are in the table `ledger`, the counters in `metrics`. Methods that are `reading` or
`writing` run on the thread of the database: their callers await them and omit `connection`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from statistics import median

from msgspec import ValidationError, convert
from msgspec.structs import asdict, fields

from lmchat.metrics import Metrics
from lmchat.sessions.message import now
from lmchat.sessions.statistics import AnswerRecord
from lmchat.storage.database import Database, reading, writing
from lmchat.storage.opening import Connection
from lmchat.storage.row_values import column_value, insert, stored_time, text_from

_logger = logging.getLogger(__name__)

# Only the newest answers count for the speed of a model: servers and machines change.
_RECENT_ANSWERS = 2000
_RECORD_FIELDS = tuple(field.name for field in fields(AnswerRecord))
# The columns have the names of the fields, except that `ended_at` is in the column `created_at`.
_RECORD_COLUMNS = ", ".join(_RECORD_FIELDS).replace("ended_at", "created_at")


class StatsStore:
    """Answer records, and counters of all runs; they hold no text of a chat."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self.database = database
        self._clock = clock

    @property
    def notice(self) -> str:
        """Sentence for the user about a file that was replaced; empty if none was."""
        return self.database.notice

    async def aclose(self) -> None:
        await self.database.aclose()

    @writing
    def add_answer_record(self, connection: Connection, record: AnswerRecord) -> None:
        """Add the record of an answer; without `ended_at`, the answer ended now."""
        values = {name: column_value(value) for name, value in asdict(record).items()}
        # the column `created_at` has the field `ended_at`
        values["created_at"] = values.pop("ended_at") or stored_time(self._clock())
        insert(connection, "ledger", values)

    @reading
    def answer_records(
        self, connection: Connection, *, since: datetime | None = None
    ) -> tuple[AnswerRecord, ...]:
        """Return the records of answers that ended since a moment, oldest first.

        Without a moment, return those of all answers. Damaged rows are left out.
        """
        earliest = "" if since is None else stored_time(since)  # all texts come after an empty one
        query = f"select {_RECORD_COLUMNS} from ledger where created_at >= ? order by ledger_id"
        records: list[AnswerRecord] = []
        for row in connection.execute(query, (earliest,)):
            # only a text is ever stored as bytes
            values = [text_from(value) if isinstance(value, bytes) else value for value in row]
            fields_by_name = dict(zip(_RECORD_FIELDS, values, strict=True))
            # `strict=False`: SQLite returns 0 or 1 for a flag
            with suppress(ValidationError):  # a damaged row
                records.append(convert(fields_by_name, AnswerRecord, strict=False))
        return tuple(records)

    @reading
    def speeds(self, connection: Connection) -> Mapping[tuple[str, str], float]:
        """Return the median speeds of models in the newest answers, in tokens per second.

        The keys are pairs of an endpoint and a model. Answers of unknown speed do not count.
        """
        speeds_by_model: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        # a value of another type is null, for an unknown speed, or is damaged
        rows = connection.execute(
            """select endpoint, model, tokens_per_second from ledger
                where typeof(tokens_per_second) = 'real' order by ledger_id desc limit ?""",
            (_RECENT_ANSWERS,),
        )
        for endpoint, model, speed in rows:
            speeds_by_model[text_from(endpoint), text_from(model)].append(speed)
        return {model: median(speeds) for model, speeds in speeds_by_model.items()}

    @reading
    def counters(self, connection: Connection) -> Metrics:
        """Return the counters of all runs; if a counter is damaged, all are 0."""
        values = dict(connection.execute("select name, value from metrics"))
        try:
            # `strict=False`: the column has all as floats, also the whole numbers
            return convert(values, Metrics, strict=False)
        except ValidationError:
            _logger.warning("the counters are damaged")
            return Metrics()

    @writing
    def count(self, connection: Connection, increase: Metrics) -> None:
        """Add to the counters in the table.

        SQLite does the addition. A sum that this process made of numbers it has read would lose
        what another process has added since.
        """
        connection.executemany(
            """insert into metrics (name, value) values (?, ?)
                on conflict (name) do update set value = value + excluded.value""",
            [(name, value) for name, value in asdict(increase).items() if value],
        )

    @writing
    def reset_counters(self, connection: Connection) -> None:
        connection.execute("delete from metrics")
