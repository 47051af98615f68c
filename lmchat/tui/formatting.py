"""Formatting of figures: unit after a no-break space, fixed decimals."""

from __future__ import annotations

from lmchat.text import GAP as GAP  # noqa: PLC0414 - also for those that use this module
from lmchat.text import size_words

UNKNOWN = "–"  # placeholder in the sidebar for an unknown value; tables leave it blank
size = size_words


def latency(value_ms: float | None) -> str:
    """Return `3 ms`, from a second on `1.2 s`."""
    if value_ms is None:
        return UNKNOWN
    return f"{value_ms:.0f}{GAP}ms" if value_ms < 999.5 else f"{value_ms / 1e3:.1f}{GAP}s"  # noqa: PLR2004 - rounds to 1000


def first_token(value_s: float | None) -> str:
    """Return `0.21 s`: two decimals below 10 s, else one."""
    if value_s is None:
        return UNKNOWN
    return f"{value_s:.2f}{GAP}s" if value_s < 9.995 else f"{value_s:.1f}{GAP}s"  # noqa: PLR2004 - rounds to 10.00


def elapsed(value_s: float) -> str:
    """Return `4.1 s`, from 10 s on `12 s`, from 100 s on `1 m 40 s`."""
    if value_s < 9.95:  # noqa: PLR2004 - rounds to 10.0
        return f"{value_s:.1f}{GAP}s"
    whole = round(value_s)
    return f"{whole}{GAP}s" if whole < 100 else f"{whole // 60}{GAP}m{GAP}{whole % 60}{GAP}s"  # noqa: PLR2004 - the rule


def rate(value: float | None, *, width: int = 0) -> str:
    """Return `42.3 tok/s`, without decimals from 100; `width` pads it in a running line."""
    if value is None:
        return UNKNOWN
    number = f"{value:.1f}" if value < 99.95 else f"{value:.0f}"  # noqa: PLR2004 - rounds to 100.0
    return f"{number:>{width}}{GAP}tok/s"


def tokens(value: int | None, *, is_estimated: bool = False) -> str:
    """Return `3 362` with a no-break space between thousands; estimates begin with `~`."""
    if value is None:
        return UNKNOWN
    return ("~" if is_estimated else "") + f"{value:,}".replace(",", GAP)


def counted(count: int, word: str, ending: str = "s") -> str:
    """Return a count with its noun, as `1 file` or `12 branches`."""
    return f"{tokens(count)} {word}{'' if count == 1 else ending}"


def window(value: int | None) -> str:
    """Return `8k`, `32k`, `128k`, `1M`; small ones in full."""
    if value is None:
        return ""
    if value >= 1_000_000:  # noqa: PLR2004 - the rule
        return f"{value / 1_000_000:.3g}M"
    if value < 1000:  # noqa: PLR2004 - the rule
        return str(value)
    thousand = 1024 if value % 1024 == 0 else 1000
    return f"{round(value / thousand)}k"


def so_far(fraction: float | None) -> str:
    """Return ` 42 %` to follow a word; empty where unknown or zero."""
    return f" {percent(fraction)}" if fraction else ""


def percent(fraction: float) -> str:
    """Return `41 %`; `> 999 %` beyond."""
    return f"> 999{GAP}%" if fraction > 9.99 else f"{fraction * 100:.0f}{GAP}%"  # noqa: PLR2004 - the rule


def ago(value_s: float) -> str:
    """Return an age as `12 s`, `3 min`, `2 h`, `5 d`."""
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if value_s >= unit_s:
            return f"{value_s // unit_s:.0f}{GAP}{unit}"
    return f"{max(value_s, 0):.0f}{GAP}s"
