"""Records of answers, and the figures of models computed from them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime

from msgspec import Struct

from lmchat.sessions.message import AnswerState


class AnswerRecord(Struct, frozen=True, kw_only=True):
    """Figures of an answer for the statistics, without content."""

    message_id: str
    endpoint: str
    product: str
    model: str
    quantization: str
    state: str
    ttft_ms: float | None
    prompt_tokens_per_second: float | None
    tokens_per_second: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    is_estimated: bool
    stalls: int
    retries: int
    elapsed_ms: float
    finish_reason: str
    ended_at: datetime | None = None  # the store sets it where it is None
    wait_ms: float | None = None  # from the start of the turn to the first word of the answer


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


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return median and 95th percentile of the values that are not None; None if all are."""
    measured = sorted(value for value in values if value is not None)
    if not measured:
        return None
    from statistics import median  # noqa: PLC0415 - slow: loads decimal and random

    rank = math.ceil(0.95 * len(measured))  # nearest-rank method, from 1
    return Spread(p50=median(measured), p95=measured[rank - 1])


def figures_by_model(rows: Iterable[AnswerRecord]) -> tuple[ModelFigures, ...]:
    """Return the figures of each model at each server; the model that was used last comes first.

    `rows` are in the order in which the turns ended.
    """
    groups: dict[tuple[str, str], list[AnswerRecord]] = {}
    for row in rows:
        key = (row.endpoint, row.model)
        group = groups.pop(key, [])
        group.append(row)
        groups[key] = group  # put back as the last group: it was used last
    return tuple(
        ModelFigures(
            model=turns[-1].model,
            endpoint=turns[-1].endpoint,
            product=turns[-1].product,
            turns=len(turns),
            complete=sum(row.state == AnswerState.COMPLETE for row in turns),
            stalls=sum(row.stalls for row in turns),
            retries=sum(row.retries for row in turns),
            completion_tokens=sum(row.completion_tokens or 0 for row in turns),
            is_estimated=any(row.is_estimated for row in turns),
            ttft_ms=spread(row.ttft_ms for row in turns),
            prompt_tokens_per_second=spread(row.prompt_tokens_per_second for row in turns),
            tokens_per_second=spread(row.tokens_per_second for row in turns),
            # no group is empty: the second value is for the type checker
            elapsed_ms=spread(row.elapsed_ms for row in turns) or Spread(p50=0.0, p95=0.0),
            last=turns[-1].ended_at,
            days=_figures_of_days(turns),
        )
        for turns in reversed(groups.values())
    )


def _figures_of_days(rows: Iterable[AnswerRecord]) -> tuple[DayFigures, ...]:
    """Return the figures of the days on which turns of one model have ended, oldest first.

    A turn whose end is not known is left out.
    """
    # one speed for each turn; None: it was not measured
    speeds_by_day: defaultdict[date, list[float | None]] = defaultdict(list)
    for row in rows:
        if row.ended_at is not None:
            speeds_by_day[row.ended_at.astimezone().date()].append(row.tokens_per_second)
    days: list[DayFigures] = []
    for day, speeds in sorted(speeds_by_day.items()):
        speed = spread(speeds)
        median = speed.p50 if speed else None
        days.append(DayFigures(day=day, turns=len(speeds), tokens_per_second=median))
    return tuple(days)
