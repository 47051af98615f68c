"""The last values as bars of one row, the newest at the right."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.tui.icons import Signs
from lmchat.tui.widgets.line import FAINT, Parts


def spark(values: Sequence[float | None], width: int, signs: Signs, *, at_least: float = 0.0) -> Parts:
    """Draw the newest values; a full bar is the most of them, or `at_least`; None is a failure."""
    shown = values[max(len(values) - width, 0) :] if width > 0 else ()
    most = max([at_least, *(value for value in shown if value is not None)])
    parts: list[tuple[str, str]] = [(" " * (width - len(shown)), FAINT)]
    for value in shown:
        if value is None:
            parts.append((signs.down, "$error"))
        else:
            parts.append((_level(value, most, signs), FAINT))
    return tuple(parts)


def _level(value: float, most: float, signs: Signs) -> str:
    top = len(signs.levels)
    if most <= 0:
        return signs.levels[0]
    return signs.levels[min(max(round(value / most * top), 1), top) - 1]
