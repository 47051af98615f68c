"""Formatting of figures: unit after a no-break space, fixed decimals.

A limit such as 9.95 is the value from which the shorter form begins, since 9.96 would become 10.0.
"""

from __future__ import annotations

from lmchat.text import GAP as GAP  # noqa: PLC0414 - also for those that use this module
from lmchat.text import size_text

UNKNOWN = "–"  # placeholder in the sidebar for an unknown value; tables leave it blank
_KILO = 1000
_KIBI = 1024
_MEGA = 1_000_000
_MOST_PERCENT = 9.99
_MINUTES_FROM_S = 100
_AGES = ((86400, "d"), (3600, "h"), (60, "min"))  # seconds of each unit, longest first
size = size_text


def latency(value_ms: float | None) -> str:
    """Return `3 ms`, from a second on `1.2 s`."""
    if value_ms is None:
        return UNKNOWN
    if value_ms < 999.5:  # noqa: PLR2004
        return f"{value_ms:.0f}{GAP}ms"
    return f"{value_ms / 1e3:.1f}{GAP}s"


def first_token(value_s: float | None) -> str:
    """Return `0.21 s`: two decimals below 10 s, else one."""
    if value_s is None:
        return UNKNOWN
    if value_s < 9.995:  # noqa: PLR2004
        return f"{value_s:.2f}{GAP}s"
    return f"{value_s:.1f}{GAP}s"


def elapsed(value_s: float) -> str:
    """Return `4.1 s`, from 10 s on `12 s`, from 100 s on `1 m 40 s`."""
    if value_s < 9.95:  # noqa: PLR2004
        return f"{value_s:.1f}{GAP}s"
    seconds = round(value_s)
    if seconds < _MINUTES_FROM_S:
        return f"{seconds}{GAP}s"
    return f"{seconds // 60}{GAP}m{GAP}{seconds % 60}{GAP}s"


def rate(value: float | None, *, width: int = 0) -> str:
    """Return `42.3 tok/s`, without decimals from 100; `width` pads it in a running line."""
    if value is None:
        return UNKNOWN
    number = f"{value:.1f}" if value < 99.95 else f"{value:.0f}"  # noqa: PLR2004
    return f"{number:>{width}}{GAP}tok/s"


def tokens(value: int | None, *, is_estimated: bool = False) -> str:
    """Return `3 362` with a no-break space between thousands; estimates begin with `~`."""
    if value is None:
        return UNKNOWN
    number = f"{value:,}".replace(",", GAP)
    return f"~{number}" if is_estimated else number


def counted(count: int, word: str, ending: str = "s") -> str:
    """Return a count with its noun, as `1 file` or `12 branches`."""
    return f"{tokens(count)} {word}{'' if count == 1 else ending}"


def window(value: int | None) -> str:
    """Return `8k`, `32k`, `128k`, `1M`; small ones in full."""
    if value is None:
        return ""
    if value >= _MEGA:
        return f"{value / _MEGA:.3g}M"
    if value < _KILO:
        return str(value)
    unit = _KILO if value % _KIBI else _KIBI
    return f"{round(value / unit)}k"


def so_far(fraction: float | None) -> str:
    """Return ` 42 %` to follow a word; empty where unknown or zero."""
    return f" {percent(fraction)}" if fraction else ""


def percent(fraction: float) -> str:
    """Return `41 %`; `> 999 %` beyond."""
    if fraction > _MOST_PERCENT:
        return f"> 999{GAP}%"
    return f"{fraction * 100:.0f}{GAP}%"


def ago(value_s: float) -> str:
    """Return an age as `12 s`, `3 min`, `2 h`, `5 d`."""
    for unit_s, unit in _AGES:
        if value_s >= unit_s:
            return f"{value_s // unit_s:.0f}{GAP}{unit}"
    return f"{max(value_s, 0):.0f}{GAP}s"
