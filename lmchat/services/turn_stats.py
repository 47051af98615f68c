"""Figures of turns: sums for each model, tokens by second, and the row that is saved of a turn.

The rows of all turns are the ledger. A receipt has the figures that are saved with an answer.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage, Failure, Receipt, new_id
from lmchat.domain.server import Target
from lmchat.domain.telemetry import LedgerRow
from lmchat.domain.turn import Turn
from lmchat.errors import LMChatError

KEPT_S = 32  # seconds of the speedometer: 31 that it shows, and the running one
_FIELDS_OF_RECEIPT = [
    name for name in LedgerRow.__struct_fields__ if name in Receipt.__struct_fields__
]
"""Fields of a ledger row that are copied from the receipt."""
_log = logging.getLogger(__name__)


class Spread(Struct, frozen=True, kw_only=True):
    """Median and 95th percentile of some values, in their unit."""

    p50: float
    p95: float


class DayFigures(Struct, frozen=True, kw_only=True):
    """One day of one model, in local time."""

    day: date
    turns: int
    tokens_per_second: float | None  # median


class ModelFigures(Struct, frozen=True, kw_only=True):
    """All turns of one model at one server."""

    model: str
    endpoint: str
    product: str
    turns: int
    complete: int  # turns that ended without an error or a stop
    stalls: int
    retries: int
    completion_tokens: int
    is_estimated: bool  # whether some of these tokens are estimates
    ttft_ms: Spread | None
    prompt_tokens_per_second: Spread | None
    tokens_per_second: Spread | None
    elapsed_ms: Spread
    last: datetime | None  # end of the last turn
    days: tuple[DayFigures, ...]  # oldest first, without days that had no turn


def figures_by_model(rows: Iterable[LedgerRow]) -> tuple[ModelFigures, ...]:
    """Return the figures of each model at each server, the one that was used last first."""
    groups: dict[tuple[str, str], list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault((row.endpoint, row.model), []).append(row)
    figures = [_figures_of(group) for group in groups.values()]
    return tuple(sorted(figures, key=_last_used_s, reverse=True))


def _last_used_s(figures: ModelFigures) -> float:
    return figures.last.timestamp() if figures.last else 0.0


def spread(values: Sequence[float | None]) -> Spread | None:
    """Return median and 95th percentile of the values that are not None; None if all are."""
    measured = sorted(value for value in values if value is not None)
    if not measured:
        return None
    from statistics import median  # noqa: PLC0415 - slow: loads decimal and random

    rank = math.ceil(0.95 * len(measured))  # nearest-rank method, from 1
    return Spread(p50=median(measured), p95=measured[rank - 1])


def _figures_of(rows: Sequence[LedgerRow]) -> ModelFigures:
    """Return the figures of one model at one server; `rows` are all its turns, at least one."""
    newest = max(rows, key=lambda row: row.ended_at.timestamp() if row.ended_at else 0.0)
    return ModelFigures(
        model=newest.model,
        endpoint=newest.endpoint,
        product=newest.product,
        turns=len(rows),
        complete=sum(row.state == AnswerState.COMPLETE for row in rows),
        stalls=sum(row.stalls for row in rows),
        retries=sum(row.retries for row in rows),
        completion_tokens=sum(row.completion_tokens or 0 for row in rows),
        is_estimated=any(row.is_estimated for row in rows),
        ttft_ms=spread([row.ttft_ms for row in rows]),
        prompt_tokens_per_second=spread([row.prompt_tokens_per_second for row in rows]),
        tokens_per_second=spread([row.tokens_per_second for row in rows]),
        elapsed_ms=spread([row.elapsed_ms for row in rows]) or Spread(p50=0.0, p95=0.0),
        last=newest.ended_at,
        days=_days(rows),
    )


def _days(rows: Sequence[LedgerRow]) -> tuple[DayFigures, ...]:
    """Return the figures of each local day on which a turn ended, oldest first."""
    speeds_by_day: dict[date, list[float | None]] = {}
    for row in rows:
        if row.ended_at is not None:
            day = row.ended_at.astimezone().date()
            speeds_by_day.setdefault(day, []).append(row.tokens_per_second)
    figures: list[DayFigures] = []
    for day, speeds in sorted(speeds_by_day.items()):
        speed_spread = spread(speeds)
        median_speed = speed_spread.p50 if speed_spread else None
        figures.append(DayFigures(day=day, turns=len(speeds), tokens_per_second=median_speed))
    return tuple(figures)


class Speedometer:
    """Counter of tokens by second, for the curve of the telemetry panel."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()  # tokens by second of the monotonic clock

    def restart(self) -> None:
        self._counts.clear()

    def count(self, now_s: float, tokens: int = 1) -> None:
        self._counts[int(now_s)] += tokens

    def values(self, now_s: float) -> tuple[float, ...]:
        """Return the tokens of each second since the first token, oldest first, at most 31 seconds.

        The running second is left out, because it is not complete.
        """
        running_second = int(now_s)
        oldest_second = running_second - (KEPT_S - 1)
        first_second = max(min(self._counts, default=running_second), oldest_second)
        return tuple(float(self._counts[second]) for second in range(first_second, running_second))


def failure_of(error: Exception) -> Failure:
    """Log an error in which an answer ended, and return it as the failure of the message.

    Both have the same id, under which the user finds the details in the log.
    """
    failure_id = new_id()[:4]
    if isinstance(error, LMChatError):
        _log.warning("an answer ended in an error of kind %s, id %s", error.kind, failure_id)
        return Failure(
            kind=error.kind,
            message=error.message,
            hint=error.hint,
            details=error.details,
            failure_id=failure_id,
        )
    _log.error("an answer ended in an error of lmchat itself, id %s", failure_id, exc_info=error)
    return Failure(
        kind="bug",
        message="lmchat had an internal error.",
        hint="Try again. The log file has details under this id.",
        details=type(error).__name__,
        failure_id=failure_id,
    )


def ledger_row(answer: ChatMessage, turn: Turn, target: Target) -> LedgerRow:
    """Return the figures of a turn for the ledger; they have no text of the user or the model."""
    receipt = replace(turn.receipt(), product=target.product)
    return LedgerRow(
        message_id=answer.message_id,
        endpoint=target.server_id,
        model=answer.model,
        quantization=target.model.quantization if target.model else "",
        state=answer.state,
        stalls=turn.stalls,
        **{name: getattr(receipt, name) for name in _FIELDS_OF_RECEIPT},
    )
