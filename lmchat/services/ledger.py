"""The ledger summed up: how each model of each server did, in figures alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from statistics import median

from msgspec import Struct

from lmchat.domain.message import AnswerState
from lmchat.domain.telemetry import LedgerRow


class Spread(Struct, frozen=True, kw_only=True):
    """What is usual, and what all but one in twenty stay below."""

    p50: float
    """The median."""
    p95: float
    """The 95th percentile, by nearest rank."""


class DayFigures(Struct, frozen=True, kw_only=True):
    """One day of one model, by this machine's clock."""

    day: date
    """Which."""
    turns: int
    """Answers that ended on it."""
    tokens_per_second: float | None
    """Their median speed."""


class ModelFigures(Struct, frozen=True, kw_only=True):
    """All turns of one model at one server."""

    model: str
    """Its name."""
    endpoint: str
    """Where."""
    product: str
    """Of what kind the server was, the last time."""
    turns: int
    """Answers that ended, in whatever way."""
    complete: int
    """Those that ended well."""
    stalls: int
    """How often they stood still."""
    retries: int
    """Tries beyond the first."""
    completion_tokens: int
    """Tokens of all answers."""
    is_estimated: bool
    """Whether some of these are our estimate."""
    ttft_ms: Spread | None
    """Time to the first token."""
    prompt_tokens_per_second: Spread | None
    """Speed of reading."""
    tokens_per_second: Spread | None
    """Speed of answers."""
    elapsed_ms: Spread
    """From sending to the end."""
    last: datetime | None
    """When the last one ended."""
    days: tuple[DayFigures, ...]
    """Day by day, oldest first; days without a turn are left out."""


def figures_by_model(rows: Iterable[LedgerRow]) -> tuple[ModelFigures, ...]:
    """Sum up turns by model and server; the one that was used last stands first."""
    groups: dict[tuple[str, str], list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault((row.endpoint, row.model), []).append(row)
    summed = [_summed(group) for group in groups.values()]
    return tuple(sorted(summed, key=lambda one: one.last.timestamp() if one.last else 0.0, reverse=True))


def spread(values: Sequence[float | None]) -> Spread | None:
    """Return the percentiles of what was measured; None where nothing was."""
    measured = sorted(value for value in values if value is not None)
    if not measured:
        return None
    return Spread(p50=median(measured), p95=measured[math.ceil(0.95 * len(measured)) - 1])


def _summed(rows: Sequence[LedgerRow]) -> ModelFigures:
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
    by_day: dict[date, list[float | None]] = {}
    for row in rows:
        if row.ended_at is not None:
            by_day.setdefault(row.ended_at.astimezone().date(), []).append(row.tokens_per_second)
    found: list[DayFigures] = []
    for day, speeds in sorted(by_day.items()):
        usual = spread(speeds)
        found.append(DayFigures(day=day, turns=len(speeds), tokens_per_second=usual.p50 if usual else None))
    return tuple(found)
