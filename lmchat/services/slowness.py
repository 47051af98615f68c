"""Comparison of an answer with the median of the same model at the same server."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from lmchat.domain.telemetry import LedgerRow
from lmchat.services.turn_stats import spread

LEAST_TURNS = 5  # earlier answers from which on a median is compared
_NEWEST_TURNS = 100  # of these earlier answers, the newest count
_SLOW_FACTOR = 1.5  # how many times as slow as the median an answer has to be
_LEAST_EXCESS_MS = 500.0  # a shorter wait beyond the median is not noticed


class Slowness(Struct, frozen=True, kw_only=True):
    """A figure of a slow answer, and the median of this figure in earlier answers."""

    value: float
    median: float
    turns: int  # number of these earlier answers


def slow_wait(message_id: str, rows: Sequence[LedgerRow]) -> Slowness | None:
    """Compare the time to the first word of an answer, in milliseconds, with earlier answers.

    Return None if it is not slow, or if that cannot be told. `rows` are those of the ledger, oldest
    first; rows behind that of this answer are ignored.
    """
    wait = _compared([row.wait_ms for row in _with_earlier(message_id, rows)])
    if wait is None or wait.value - wait.median < _LEAST_EXCESS_MS:
        return None
    return wait if wait.value > wait.median * _SLOW_FACTOR else None


def slow_speed(message_id: str, rows: Sequence[LedgerRow]) -> Slowness | None:
    """Compare the tokens per second of an answer, as `slow_wait` compares the wait."""
    speed = _compared([row.tokens_per_second for row in _with_earlier(message_id, rows)])
    is_slow = speed is not None and speed.value * _SLOW_FACTOR < speed.median
    return speed if is_slow else None


def _with_earlier(message_id: str, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Return the earlier rows of the model and the server of an answer, then its own.

    The list is empty if the answer has no row, as after an import.
    """
    ids = [row.message_id for row in rows]
    if message_id not in ids:
        return []
    index = ids.index(message_id)
    own = rows[index]
    earlier = [
        row for row in rows[:index] if (row.endpoint, row.model) == (own.endpoint, own.model)
    ]
    return [*earlier, own]


def _compared(values: Sequence[float | None]) -> Slowness | None:
    """Return the last value, which is the answer's own, and the median of those before it.

    None among the values is one that was not measured. Return None if the last one is, or if too
    few earlier ones were measured.
    """
    if not values or values[-1] is None:
        return None
    earlier = [value for value in values[:-1] if value is not None][-_NEWEST_TURNS:]
    earlier_spread = spread(earlier)
    if earlier_spread is None or len(earlier) < LEAST_TURNS:
        return None
    return Slowness(value=values[-1], median=earlier_spread.p50, turns=len(earlier))
