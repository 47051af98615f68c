"""Records of answers, and the figures of models computed from them.

A turn with tool calls has several answers, each with a record. A request that `lmchat serve` passes
on has a record, too. A figure that is None is not known.
"""

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
    quantization: str  # empty if it is not known
    state: str  # an `AnswerState`
    ttft_ms: float | None
    prompt_tokens_per_second: float | None
    tokens_per_second: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    is_estimated: bool  # whether `completion_tokens` is an estimate
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
    """Figures of the answers of one model that ended on one day, in local time."""

    day: date
    turns: int  # number of answers; scripts know it by this name, from `lmchat stats --json`
    tokens_per_second: float | None  # median


class ModelFigures(Struct, frozen=True, kw_only=True):
    """Figures of all answers of one model at one server."""

    model: str
    endpoint: str
    product: str
    turns: int  # number of answers, as in `DayFigures`
    complete: int  # number of those that ended without an error or a stop
    stalls: int  # the sum over all answers, like `retries` and `completion_tokens`
    retries: int
    completion_tokens: int
    is_estimated: bool  # whether some of these tokens are estimates
    ttft_ms: Spread | None
    prompt_tokens_per_second: Spread | None
    tokens_per_second: Spread | None
    elapsed_ms: Spread
    last: datetime | None  # end of the last answer
    days: tuple[DayFigures, ...]  # oldest first, without days on which no answer ended


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return median and 95th percentile of the values that are not None; None if all are."""
    measured = sorted(value for value in values if value is not None)
    if not measured:
        return None
    from statistics import median  # noqa: PLC0415 - slow: loads decimal and random

    rank = math.ceil(0.95 * len(measured))  # nearest-rank method, from 1
    return Spread(p50=median(measured), p95=measured[rank - 1])


def figures_by_model(records: Iterable[AnswerRecord]) -> tuple[ModelFigures, ...]:
    """Return the figures of each model at each server; the model that was used last comes first.

    `records` are in the order in which the answers ended.
    """
    groups: dict[tuple[str, str], list[AnswerRecord]] = {}
    for record in records:
        key = (record.endpoint, record.model)
        group = groups.pop(key, [])
        group.append(record)
        groups[key] = group  # put back as the last group: it was used last
    return tuple(
        ModelFigures(
            model=answers[-1].model,
            endpoint=answers[-1].endpoint,
            product=answers[-1].product,
            turns=len(answers),
            complete=sum(answer.state == AnswerState.COMPLETE for answer in answers),
            stalls=sum(answer.stalls for answer in answers),
            retries=sum(answer.retries for answer in answers),
            completion_tokens=sum(answer.completion_tokens or 0 for answer in answers),
            is_estimated=any(answer.is_estimated for answer in answers),
            ttft_ms=spread(answer.ttft_ms for answer in answers),
            prompt_tokens_per_second=spread(answer.prompt_tokens_per_second for answer in answers),
            tokens_per_second=spread(answer.tokens_per_second for answer in answers),
            # no group is empty: the second value is for the type checker
            elapsed_ms=spread(answer.elapsed_ms for answer in answers) or Spread(p50=0.0, p95=0.0),
            last=answers[-1].ended_at,
            days=_figures_of_days(answers),
        )
        for answers in reversed(groups.values())
    )


def _figures_of_days(answers: Iterable[AnswerRecord]) -> tuple[DayFigures, ...]:
    """Return the figures of the days on which answers of one model have ended, oldest first.

    An answer whose end is not known is left out.
    """
    # one speed for each answer; None: it was not measured
    speeds_by_day: defaultdict[date, list[float | None]] = defaultdict(list)
    for answer in answers:
        if answer.ended_at is not None:
            speeds_by_day[answer.ended_at.astimezone().date()].append(answer.tokens_per_second)
    days: list[DayFigures] = []
    for day, speeds in sorted(speeds_by_day.items()):
        speed = spread(speeds)
        median = speed.p50 if speed else None
        days.append(DayFigures(day=day, turns=len(speeds), tokens_per_second=median))
    return tuple(days)
