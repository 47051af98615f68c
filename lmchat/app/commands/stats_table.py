"""The table of models, as `lmchat stats` and `/stats` show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from lmchat.app.terminal.output import local_time, table
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.model import name_and_address
from lmchat.core.sessions.model_stats import ModelStats, Spread

_HEAD = ("MODEL", "ANSWERS", "COMPLETE", "FIRST TOKEN", "TOK/S", "TIME", "LAST")
_NAME_CHARS = 24  # of a model, where the width is limited


def stats_table(models: Sequence[ModelStats], *, width: int | None) -> list[str]:
    """Return the models below a line for each server; of the columns, as many as fit."""
    from rich.cells import cell_len  # noqa: PLC0415 - commands start without rich

    servers: dict[str, list[ModelStats]] = {}
    for one in models:
        address = one.endpoint.removeprefix("http://")
        servers.setdefault(name_and_address(one.product, address), []).append(one)
    names = {one.model for one in models}
    short_names = {safe_line(name, limit=_NAME_CHARS) for name in names}
    # short names only where they give a column more, and do not look alike
    limits = (None,) if len(short_names) < len(names) else (None, _NAME_CHARS)
    lines: list[str] = []
    for columns, limit in product(range(len(_HEAD), 0, -1), limits):
        rows = [_row(one, limit)[:columns] for of_server in servers.values() for one in of_server]
        # the empty cells indent the models
        lines = table(("", *_HEAD[:columns]), [("", *row) for row in rows])
        if width is None or max(map(cell_len, lines)) <= width:
            break
    of_models = iter(lines[1:])
    grouped = lines[:1]
    for server, of_server in servers.items():
        grouped += table((server,), (), width=width)
        grouped += [next(of_models) for _ in of_server]
    return [*grouped, "Of two figures, the first is the median (p50), the second p95."]


def _row(stats: ModelStats, name_chars: int | None) -> tuple[str, ...]:
    return (
        safe_line(stats.model, limit=name_chars),
        str(stats.turns),
        f"{100 * stats.complete / stats.turns:.0f} %",
        _both(stats.ttft_ms, units.exact_time),
        _both(stats.tokens_per_second, "{:.1f}".format),
        _both(stats.elapsed_ms, lambda value_ms: units.elapsed(value_ms / 1e3)),
        local_time(stats.last),
    )


def _both(spread: Spread | None, in_words: Callable[[float], str]) -> str:
    return "" if spread is None else f"{in_words(spread.p50)}, {in_words(spread.p95)}"
