"""How long a server asks to wait, in every form in which servers write it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from lmchat.proxy.json_values import mapping, rows, text

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")

_UNITS = ("d", "h", "min", "s")


def retry_after_s(headers: Mapping[str, str], facts: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait, or None where the server named none.

    Read are `retry-after-ms`, `retry-after` (seconds or a date), OpenAI's `x-ratelimit-reset-requests`
    (only where no room is left) and the `retryDelay` in the body of a Google error.
    """
    milliseconds = _figure(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    named = headers.get("retry-after", "").strip()
    if named:
        return _seconds_or_date(named)
    if headers.get("x-ratelimit-remaining-requests", "").strip() == "0":
        return _duration(headers.get("x-ratelimit-reset-requests", ""))
    delays = (text(mapping(row).get("retryDelay")) for row in rows(facts.get("details")))
    return next((_duration(delay) for delay in delays if delay), None)


def span(seconds: float) -> str:
    """Write a time to wait in its two largest units, never shorter than it is."""
    left = math.ceil(seconds)
    figures = [left // 86400, left // 3600 % 24, left // 60 % 60, left % 60]
    first = next((place for place, figure in enumerate(figures) if figure), len(figures) - 1)
    told = list(zip(figures, _UNITS, strict=True))[first : first + 2]
    return " ".join(f"{figure} {unit}" for figure, unit in told)


def _seconds_or_date(named: str) -> float | None:
    seconds = _figure(named)
    if seconds is not None:
        return seconds
    try:
        date = parsedate_to_datetime(named)
    except (ValueError, TypeError, IndexError, OverflowError):
        return _duration(named)
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)


def _figure(named: str) -> float | None:
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,12})?)\s*", named, re.ASCII)
    return float(found.group(1)) if found else None


def _duration(named: str) -> float | None:
    found = _DURATION.fullmatch(named.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(group or 0) for group in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
