"""Stats of answers and counters of all runs in `sessions.db`, without text of a chat."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, ValidationError, convert
from msgspec.structs import asdict

from lmchat.base.errors import LMChatError
from lmchat.base.metrics import Metrics
from lmchat.core.sessions.message import AnswerState, AnswerStats, now
from lmchat.core.sessions.model_stats import ModelStats
from lmchat.core.storage.database import Database, reading, writing
from lmchat.core.storage.opening import Connection
from lmchat.core.storage.record_values import insert, storable, stored_time, text_from

_logger = logging.getLogger(__name__)

# servers and machines change
_RECENT_ANSWERS = 2000
_COUNTS = ("prompt_tokens", "completion_tokens", "is_estimated", "stalls", "retries")
_SPREADS = ("ttft_ms", "prompt_tokens_per_second", "tokens_per_second", "elapsed_ms")
_NUMBERS = (*_COUNTS, *_SPREADS, "wait_ms")
# In SQLite, a text or a blob is larger than any number, and a count with a fraction makes the sum a
# real. The time is a `stored_time` that every time zone can show; `+0 days` changes the date of 30
# February.
_IS_SOUND = f"""
    {" and ".join(f"coalesce({name} between 0 and 1e12, true)" for name in _NUMBERS)}
    and typeof({" + ".join(f"coalesce({name}, 0)" for name in _COUNTS)}) = 'integer'
    and created_at glob '*T??:??:??.{"[0-9]" * 6}+00:00' and created_at between '0002' and '9999'
    and strftime('%Y-%m-%dT%H:%M:%S', substr(created_at, 1, 19), '+0 days')
        = substr(created_at, 1, 19)"""
# with one `max`, columns without an aggregate are those of its row, the last answer;
# a name of which only requests failed may be one that its server does not know
_MODELS = f"""
    select max(ledger_id), model, endpoint, product, created_at as last, count(*) as turns,
        sum(state = '{AnswerState.COMPLETE}') as complete, sum(stalls) as stalls,
        sum(retries) as retries, coalesce(sum(completion_tokens), 0) as completion_tokens,
        sum(is_estimated) > 0 as is_estimated,
        {", ".join(f"spread({name}) as {name}" for name in _SPREADS)}
    from ledger where created_at >= ? and {_IS_SOUND}
    group by endpoint, model having sum(state != '{AnswerState.FAILED}')
    order by max(ledger_id) desc"""
_DAYS = f"""
    select endpoint, model, date(substr(created_at, 1, 19), 'localtime') as day, count(*),
        spread(tokens_per_second)
    from ledger where created_at >= ? and {_IS_SOUND} group by endpoint, model, day order by day"""
_SPEEDS = """
    select endpoint, model, spread(tokens_per_second) from (
        select endpoint, model, tokens_per_second from ledger
        where tokens_per_second between 0 and 1e12 order by ledger_id desc limit ?)
    group by endpoint, model"""


class StatsStore(Struct, eq=False):
    """The tables `ledger`, a row for each answer of a model, and `metrics`."""

    database: Database
    _clock: Callable[[], datetime] = now

    async def add(
        self,
        message_id: str,
        *,
        endpoint: str,
        model: str,
        state: AnswerState,
        stats: AnswerStats,
        stalls: int = 0,
    ) -> None:
        """The answer is dropped if the disk fails."""
        values = {
            "created_at": stored_time(self._clock()),
            "message_id": message_id,
            "endpoint": endpoint,
            "product": stats.product,
            "model": model,
            "quantization": "",  # nothing reads it, but older versions need the column
            "state": state,
            "finish_reason": stats.finish_reason,
        }
        record: dict[str, object] = {name: storable(text) for name, text in values.items()}
        record |= {name: getattr(stats, name) for name in _NUMBERS if name != "stalls"}
        record["stalls"] = stalls
        try:
            await self.database.write(lambda connection: insert(connection, "ledger", record))
        except LMChatError as error:
            _logger.warning("the stats of an answer could not be written: %s", error.kind)

    @reading
    def model_stats(
        self, connection: Connection, *, since: datetime | None = None
    ) -> tuple[ModelStats, ...]:
        """The last used comes first. Answers that ended before `since` do not count."""
        connection.create_aggregate("spread", 1, _Spread)
        values = ("" if since is None else stored_time(since),)
        days: defaultdict[tuple[object, object], list[dict[str, object]]] = defaultdict(list)
        for endpoint, model, day, turns, speeds in connection.execute(_DAYS, values):
            speed = json.loads(speeds)
            days[endpoint, model].append(
                {"day": day, "turns": turns, "tokens_per_second": speed and speed["p50"]}
            )
        cursor = connection.execute(_MODELS, values)
        names = [name for name, *_ in cursor.description]
        found: list[ModelStats] = []
        for record in cursor:
            fields = dict(zip(names, record, strict=True))
            fields["days"] = days[fields["endpoint"], fields["model"]]
            fields |= {name: text_from(fields[name]) for name in ("model", "endpoint", "product")}
            fields |= {name: json.loads(fields[name]) for name in _SPREADS}
            # `strict=False`: SQLite returns 0 or 1 for a flag
            found.append(convert(fields, ModelStats, strict=False))
        return tuple(found)

    @reading
    def speeds(self, connection: Connection) -> Mapping[tuple[str, str], float]:
        """Return median speeds, in tokens per second, by endpoint and model."""
        connection.create_aggregate("spread", 1, _Spread)
        records = connection.execute(_SPEEDS, (_RECENT_ANSWERS,))
        return {
            (text_from(endpoint), text_from(model)): json.loads(speeds)["p50"]
            for endpoint, model, speeds in records
        }

    @reading
    def counters(self, connection: Connection) -> Metrics:
        """All are 0 if one is damaged."""
        values = dict(connection.execute("select name, value from metrics"))
        try:
            # whole numbers are stored as floats, too
            return convert(values, Metrics, strict=False)
        except ValidationError:
            _logger.warning("the counters are damaged")
            return Metrics()

    @writing
    def count(self, connection: Connection, increase: Metrics) -> None:
        """SQLite adds, as another process may add at the same time."""
        connection.executemany(
            """insert into metrics (name, value) values (?, ?)
                on conflict (name) do update set value = value + excluded.value""",
            [(name, value) for name, value in asdict(increase).items() if value],
        )

    @writing
    def reset_counters(self, connection: Connection) -> None:
        connection.execute("delete from metrics")


class _Spread:
    """SQL aggregate: median and 95th percentile of values that are not null, as JSON."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: float | None) -> None:
        if value is not None:
            self._values.append(value)

    def finalize(self) -> Any:
        values = sorted(self._values)
        count = len(values)
        if not count:
            return "null"
        median = (values[(count - 1) // 2] + values[count // 2]) / 2
        rank = math.ceil(0.95 * count)  # nearest-rank method, from 1
        return json.dumps({"p50": median, "p95": values[rank - 1]})
