"""Stats of all answers of a model; None is not known."""

from __future__ import annotations

from datetime import date, datetime

from msgspec import Struct


class Spread(Struct, frozen=True, kw_only=True):
    """Median and 95th percentile of some values, in their unit."""

    p50: float
    p95: float


class DayStats(Struct, frozen=True, kw_only=True):
    """Stats of the answers of a model that ended on one day, in local time."""

    day: date
    turns: int  # answers; its name in `lmchat stats --json`
    tokens_per_second: float | None  # median


class ModelStats(Struct, frozen=True, kw_only=True):
    """Stats of all answers of one model at one server."""

    model: str
    endpoint: str
    product: str
    turns: int  # answers
    complete: int  # without an error or a stop
    stalls: int  # over all answers, like `retries` and `completion_tokens`
    retries: int
    completion_tokens: int
    is_estimated: bool  # whether some of these tokens are estimates
    ttft_ms: Spread | None
    prompt_tokens_per_second: Spread | None
    tokens_per_second: Spread | None
    elapsed_ms: Spread
    last: datetime  # end of the last answer
    days: tuple[DayStats, ...]  # oldest first, without days on which no answer ended
