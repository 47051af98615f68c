"""What a figure is worth: held against what it must be and what it aims at."""

from __future__ import annotations

import re
from collections.abc import Iterable

OK, AIM_MISSED, MUST_MISSED = "ok", "aim missed", "MUST missed"
_NUMBER = re.compile(r"\d+(?:\.\d+)?|-(?=\s*/|\s*$)")
"""A number, or the dash that stands where nothing is asked."""


def verdict(value: str, must: str, aim: str) -> str:
    """Return what holds of a figure; empty where nothing is asked of it."""
    if not any(map(_asks, (must, aim))):
        return ""
    if _is_over(value, must):
        return MUST_MISSED
    return AIM_MISSED if _is_over(value, aim) else OK


def numbers(text: str) -> list[float | None]:
    """Return the numbers of `5.0 / 20 ms` and of `<= - / 20`; None for a dash."""
    return [None if found == "-" else float(found) for found in _NUMBER.findall(text)]


def worst(verdicts: Iterable[str]) -> str:
    """Return the worst of some verdicts."""
    found = set(verdicts)
    return next((one for one in (MUST_MISSED, AIM_MISSED) if one in found), OK)


def _asks(limit: str) -> bool:
    return limit.startswith("<") and any(number is not None for number in numbers(limit))


def _is_over(value: str, limit: str) -> bool:
    if not _asks(limit):
        return False
    pairs = zip(numbers(value), numbers(limit), strict=False)
    return any(is_ is not None and may is not None and is_ > may for is_, may in pairs)
