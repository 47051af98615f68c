"""A thin bar: heavy for used, light for free, so that it reads without colour."""

from __future__ import annotations

from lmchat.tui.icons import Signs
from lmchat.tui.widgets.line import FAINT, MUTED, Parts

WARNS_ABOVE = 0.75
"""Share from which room is getting short."""
ALARMS_ABOVE = 0.95
"""Share from which there is hardly any."""


def meter(fraction: float | None, width: int, signs: Signs) -> Parts:
    """Draw the bar; its colour tells only whether room is getting short."""
    share = min(max(fraction or 0.0, 0.0), 1.0)
    used = round(width * share)
    style = "$error" if share > ALARMS_ABOVE else "$warning" if share > WARNS_ABOVE else MUTED
    return ((signs.used * used, style), (signs.rule * (width - used), FAINT))
