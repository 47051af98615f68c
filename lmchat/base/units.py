"""A figure as it is shown: its unit after a no-break space, fixed decimals, plurals, and signs.

Limits such as 9.95 allow for rounding: 9.96 with one decimal would be 10.0.
"""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

GAP = "\u00a0"  # between a figure and its unit


def breakable(figures: str) -> str:
    return figures.replace(GAP, " ")


def size_text(value_bytes: int | None, *, is_exact: bool = False) -> str:
    """Write powers of 1000, as `12 MB` and `4.7 GB`; with `is_exact`, as `2.1 kB`."""
    if value_bytes is None:
        return ""
    value = float(value_bytes)
    units = ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:  # noqa: PLR2004 - rounds to 1000
        value /= 1000
        del units[0]
    unit = units[0]
    decimals = 0 if unit in ("B", "kB", "MB") else 1
    if is_exact and unit != "B" and value < 9.95:  # noqa: PLR2004 - rounds to 10.0
        decimals = 1
    return f"{value:.{decimals}f}{GAP}{unit}"


UNKNOWN = "–"  # in the sidebar; tables leave it blank
_KILO = 1000
_KIBI = 1024
_MEGA = 1_000_000
_MINUTES_FROM_S = 100
_ROUGH_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))  # seconds of each unit, longest first


def latency(value_ms: float | None) -> str:
    """Write `3 ms`, or from a second on `1.2 s`."""
    if value_ms is None:
        return UNKNOWN
    if value_ms < 999.5:  # noqa: PLR2004
        return f"{value_ms:.0f}{GAP}ms"
    return f"{value_ms / 1e3:.1f}{GAP}s"


def exact_time(value_ms: float | None) -> str:
    """Write `0.21 s`, with two decimals below 10 s, else with one."""
    if value_ms is None:
        return UNKNOWN
    value_s = value_ms / 1e3
    if value_s < 9.995:  # noqa: PLR2004
        return f"{value_s:.2f}{GAP}s"
    return f"{value_s:.1f}{GAP}s"


def elapsed(value_s: float) -> str:
    """Write `4.1 s`, from 10 s on `12 s`, from 100 s on `1 m 40 s`, from an hour on `2 h 5 m`."""
    if value_s < 9.95:  # noqa: PLR2004
        return f"{value_s:.1f}{GAP}s"
    seconds = round(value_s)
    if seconds < _MINUTES_FROM_S:
        return f"{seconds}{GAP}s"
    minutes = seconds // 60
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes}{GAP}m{GAP}{seconds % 60}{GAP}s"
    return f"{minutes // 60}{GAP}h{GAP}{minutes % 60}{GAP}m"


def rate(value: float | None, *, width: int = 0) -> str:
    """Write `42.3 tok/s`, from 100 on without a decimal.

    Padding to `width` characters keeps a line that is updated from jumping.
    """
    if value is None:
        return UNKNOWN
    number = f"{value:.1f}" if value < 99.95 else whole_number(round(value))  # noqa: PLR2004
    return f"{number:>{width}}{GAP}tok/s"


def whole_number(value: int | None, *, is_estimated: bool = False) -> str:
    """Write `3 362`; estimates start with `~`."""
    if value is None:
        return UNKNOWN
    number = f"{value:,}".replace(",", GAP)
    return f"~{number}" if is_estimated else number


def counted(count: int, word: str, ending: str = "s") -> str:
    """Write `1 file`, or with the ending `12 branches`."""
    return f"{whole_number(count)} {word}{'' if count == 1 else ending}"


def window(value: int | None) -> str:
    """Write a context window as `8k`, `128k` or `1M`: multiples of 1024 in units of 1024."""
    if value is None:
        return ""
    if value >= _MEGA:
        return f"{value / _MEGA:.3g}M"
    if value < _KILO:
        return str(value)
    unit = _KILO if value % _KIBI else _KIBI
    return f"{round(value / unit)}k"


def window_of_most(loaded: int | None, most: int | None) -> str:
    """Write `8k of 32k`, or the largest alone as `max 32k`."""
    if not loaded:
        return f"max {window(most)}" if most else ""
    has_more = bool(most) and window(loaded) != window(most)
    return f"{window(loaded)} of {window(most)}" if has_more else window(loaded)


def progress_suffix(fraction: float | None) -> str:
    """To follow a word such as "loading"."""
    return f" {percent(fraction)}" if fraction else ""


def percent(fraction: float) -> str:
    return f"{fraction * 100:.0f}{GAP}%"


def rough_time(value_s: float) -> str:
    """Round down; a negative time is `0 s`: a check may start a moment late."""
    for unit_s, unit in _ROUGH_UNITS:
        if value_s >= unit_s:
            return f"{value_s // unit_s:.0f}{GAP}{unit}"
    return f"{max(value_s, 0):.0f}{GAP}s"


def day(moment: datetime, now: datetime) -> str:
    """Write `today`, `yesterday`, `3 November`, or for other years `3 November 2025`."""
    local = moment.astimezone(now.tzinfo)
    days = (now.date() - local.date()).days
    if days in (0, 1):
        return "yesterday" if days else "today"
    day_of_year = f"{local.day} {local:%B}"
    return day_of_year if local.year == now.year else f"{day_of_year} {local.year}"


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Signs(Struct, frozen=True, kw_only=True):
    """Signs of screen and Markdown; on an ASCII screen, a filter replaces them.

    The first six show a state, which a word that follows also says.
    """

    ready: str = "●"
    degraded: str = "◆"  # usable soon, or after one step
    failed: str = "×"  # also of a server that is down
    off: str = "·"
    asleep: str = "○"
    remote: str = "→"  # of a model that does not run where its server runs
    dot: str = "·"  # between two figures of a line
    fresh: str = "•"  # new text; also a bullet
    folded: str = "+"
    unfolded: str = "-"
    warning: str = "!"
    bar: str = "▌"  # left edge
    used: str = "━"  # used part of a meter
    rule: str = "─"  # free part of a meter
    column: str = "│"
    half_row: str = "▀"  # the end of code
    levels: str = "▁▂▃▄▅▆▇█"  # of a sparkline, lowest first
    down_arrow: str = "↓"
    up_arrow: str = "↑"
    fork: str = "└"
    cut: str = "…"  # in place of text that has no room
    before_version: str = "‹"
    after_version: str = "›"


SIGNS = Signs()
