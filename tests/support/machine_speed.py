"""Limits of processor time that mean the same on a slow machine."""

from __future__ import annotations

import time
from functools import cache

_OBJECTS = 100_000
_OBJECTS_S = 0.05
"""What making the objects takes on the kind of machine for which the limits are set."""


def processor_limit_s(limit_s: float) -> float:
    """Return a limit in seconds of this machine's processor; never less than the one given."""
    return limit_s * max(_slowness(), 1.0)


@cache
def _slowness() -> float:
    return sorted(_objects_s() for _ in range(5))[2] / _OBJECTS_S


def _objects_s() -> float:
    """Make what a parser makes, strings and small lists in a dict; memory is what differs most."""
    begun_s = time.process_time()
    made = {str(number): [number, (number,)] for number in range(_OBJECTS)}
    spent_s = time.process_time() - begun_s
    made.clear()
    return spent_s
