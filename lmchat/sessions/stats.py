"""Figures of answers and turns: sums, medians, and the text of `/stats`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from msgspec import Struct
from msgspec.structs import asdict

from lmchat import units
from lmchat.safe_text import safe_line
from lmchat.sessions.message import AnswerState


class Metrics(Struct, frozen=True, kw_only=True):
    """Counters of requests."""

    total_requests: int = 0
    successful_requests: int = 0
    failed_requests: int = 0
    stopped_requests: int = 0
    retries: int = 0
    total_response_ms: float = 0.0  # of the successful requests
    cache_hits: int = 0
    """Lists of models that came from the cache."""
    cache_misses: int = 0
    refused_requests: int = 0
    """Requests that lmchat rejected and did not send."""

    def since(self, earlier: Metrics) -> Metrics:
        """Return, for each counter, by how much it has grown since `earlier`, such as a reset."""
        before = asdict(earlier)
        return Metrics(**{name: count - before[name] for name, count in asdict(self).items()})

    @property
    def average_response_ms(self) -> float:
        """Mean time of a successful request; 0 without one."""
        if not self.successful_requests:
            return 0.0
        return self.total_response_ms / self.successful_requests


class Budget(Struct, frozen=True, kw_only=True):
    """Requests that the limiter still allows."""

    left: int  # requests that may be sent now
    limit: int  # requests per minute


class TurnRecord(Struct, frozen=True, kw_only=True):
    """Figures of a turn for the turn records, without content."""

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


def figures_by_model(rows: Iterable[TurnRecord]) -> tuple[ModelFigures, ...]:
    """Return the figures of each model at each server, the one that was used last first.

    `rows` are in the order in which the turns ended.
    """
    groups: dict[tuple[str, str], list[TurnRecord]] = {}
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


def _figures_of_days(rows: Iterable[TurnRecord]) -> tuple[DayFigures, ...]:
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


_SHOWN_S = 31  # whole seconds in the curve of the telemetry panel


class Speedometer:
    """Counter of tokens by second, for the curve of the telemetry panel."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()  # tokens by second of the monotonic clock

    def restart(self) -> None:
        self._counts.clear()

    def count(self, now_s: float, tokens: int = 1) -> None:
        """Count tokens that have just come; `now_s` is the time of the monotonic clock."""
        self._counts[int(now_s)] += tokens

    def values(self, now_s: float) -> tuple[float, ...]:
        """Return the tokens of each second since the first token, oldest first, at most 31 seconds.

        The running second is left out, because it is not complete.
        """
        running_second = int(now_s)
        oldest_second = running_second - _SHOWN_S
        first_second = max(min(self._counts, default=running_second), oldest_second)
        return tuple(float(self._counts[second]) for second in range(first_second, running_second))


RECORD_DAYS = 90  # period of the figures by model; `lmchat stats` shows all of the turn records
_NAME_WIDTH = 24  # cells
_VALUE_WIDTH = 12


def statistics_text(metrics: Metrics, budget: Budget, text_of_models: str) -> str:
    """Return the text of `/stats`: the counters of this run, and below them those of the models.

    `text_of_models` is what `models_text` has returned.
    """
    list_requests = metrics.cache_hits + metrics.cache_misses
    run = _lines(
        ("requests", str(metrics.total_requests)),
        ("ok", str(metrics.successful_requests)),
        ("failed", str(metrics.failed_requests)),
        ("stopped", str(metrics.stopped_requests)),
        ("rejected by lmchat", str(metrics.refused_requests)),
        ("retries", str(metrics.retries)),
        ("average time", units.elapsed(metrics.average_response_ms / 1000)),
        ("model lists from cache", f"{metrics.cache_hits} of {list_requests}"),
        ("requests left", f"{budget.left} of {budget.limit}"),
    )
    return f"This run\n{run}\n\n{text_of_models}".rstrip()


def models_text(models: Sequence[ModelFigures]) -> str:
    """Return a heading and one paragraph of figures per model; empty if no model has answered."""
    if not models:
        return ""
    paragraphs: list[str] = []
    for figures in models:
        rows = [("answers", f"{figures.turns}, {figures.complete} ok")]
        # name, value, the words for it, and the factor to the unit that these take
        for name, figure, in_words, factor in (
            ("first token", figures.ttft_ms, units.exact_time, 1e-3),
            ("speed", figures.tokens_per_second, units.rate, 1),
            ("prompt speed", figures.prompt_tokens_per_second, units.rate, 1),
            ("time", figures.elapsed_ms, units.elapsed, 1e-3),
        ):
            values = [] if figure is None else [figure.p50 * factor, figure.p95 * factor]
            rows.append((name, ", ".join(map(in_words, values)) or units.UNKNOWN))
        model = safe_line(f"{figures.model} · {figures.product} · {figures.endpoint}")
        paragraphs.append(f"{model}\n{_lines(*rows)}")
    heading = f"Last {RECORD_DAYS} days (median, 95th percentile)"
    return "\n".join([heading, "\n\n".join(paragraphs)])


def _lines(*rows: tuple[str, str]) -> str:
    return "\n".join(f"{name:<{_NAME_WIDTH}}{value:>{_VALUE_WIDTH}}" for name, value in rows)
