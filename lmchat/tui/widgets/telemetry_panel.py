"""Telemetry panel in the right column."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest

from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from lmchat.text import safe_line
from lmchat.tui.icons import Icons, icons_for
from lmchat.tui.widgets.line import FAINT, MUTED, Part, Parts, content, cut, cut_middle, fit
from lmchat.tui.widgets.telemetry_rows import (
    SECTIONS,
    MeterRow,
    Row,
    SparkRow,
    TelemetrySnapshot,
    TextRow,
    telemetry_rows,
)

WARNS_ABOVE = 0.75  # share of the window from which the meter warns
ALARMS_ABOVE = 0.95  # share of the window from which the meter alarms
_SMALLEST_FULL_BAR = 0.001


def meter(fraction: float | None, width: int, icons: Icons) -> Parts:
    """Draw the bar; its colour shows only whether room is short."""
    share = min(max(fraction or 0.0, 0.0), 1.0)
    used = round(width * share)
    style = "$error" if share > ALARMS_ABOVE else "$warning" if share > WARNS_ABOVE else MUTED
    return ((icons.used * used, style), (icons.rule * (width - used), FAINT))


def spark(
    values: Sequence[float | None], width: int, icons: Icons, *, at_least: float = 0.0
) -> Parts:
    """Draw the newest values; a full bar is their maximum or `at_least`; None is a failure."""
    shown = values[max(len(values) - width, 0) :] if width > 0 else ()
    full_bar = max([at_least, _SMALLEST_FULL_BAR, *(value for value in shown if value is not None)])
    parts: list[Part] = [(" " * (width - len(shown)), FAINT)]
    for value in shown:
        if value is None:
            parts.append((icons.down, "$error"))
        else:
            level = max(round(value / full_bar * len(icons.levels)), 1)
            parts.append((icons.levels[level - 1], FAINT))
    runs = groupby(parts, key=lambda part: part[1])
    return tuple(("".join(sign for sign, _ in run), style) for style, run in runs)


_MOST_WARNING_ROWS = 7


class TelemetryPanel(Widget):
    """Telemetry rows in one widget; a snapshot redraws only the changed rows."""

    def __init__(self, sections: Sequence[str] = SECTIONS, *, id: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id)
        self._sections = tuple(sections)
        self._snapshot, self._now_s = TelemetrySnapshot(), 0.0
        self._rows: tuple[Row | None, ...] = ()

    def show(self, snapshot: TelemetrySnapshot, now_s: float) -> None:
        """Show a snapshot at `now_s`, on the clock of its own times."""
        self._snapshot, self._now_s = snapshot, now_s
        if self.is_attached and self.size.height:
            before, self._rows = self._rows, self._all_rows()
            rows = enumerate(zip_longest(before, self._rows))
            if changed := [y for y, (old, new) in rows if old != new]:
                self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _all_rows(self) -> tuple[Row | None, ...]:
        height, words = self.size.height, safe_line(self._snapshot.warning)
        lines = (
            Content(f"! {words}").wrap(max(self.size.width, 1))[:_MOST_WARNING_ROWS]
            if words
            else []
        )
        room = height - len(lines) - bool(lines)
        rows = telemetry_rows(self._snapshot, self._now_s, sections=self._sections, height=room)
        warning = [TextRow(left=((line.plain.rstrip(), "$warning"),)) for line in lines]
        return (*rows, *[None] * (height - len(warning) - len(rows)), *warning) if warning else rows

    def on_resize(self) -> None:
        self._rows = self._all_rows()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one row: all of them for one changed figure would cost a tenth of a streaming answer."""
        width = self.size.width
        row = self._rows[y] if y < len(self._rows) else None
        if row is None:
            return Strip.blank(width, self.rich_style)
        line = draw(row, width, icons_for(self))
        return Visual.to_strips(self, line, width, 1, self.visual_style)[0]


def draw(row: Row, width: int, icons: Icons) -> Content:
    """Draw a row in exactly a width."""
    match row:
        case MeterRow(fraction=fraction):
            return content(meter(fraction, width, icons))
        case SparkRow(values=values, at_least=at_least):
            return content(spark(values, width, icons, at_least=at_least))
        case TextRow():
            return _draw_text(row, width, icons)


def _draw_text(row: TextRow, width: int, icons: Icons) -> Content:
    left, right = row.left, content(row.right)
    if row.sign:
        left = ((f"{getattr(icons, row.sign)} ", row.sign_style), *left)
    if row.short and sum(cell_len(text) for text, _ in left) + 2 + right.cell_length > width:
        right = content(row.short)
    if row.is_words:
        right = cut(right, width - content(left).cell_length - 2, icons.cut)
    if row.loses_middle:
        room = width - (right.cell_length + 2 if right else 0)
        left = tuple((cut_middle(text, room, icons.cut), style) for text, style in left)
    right = cut(right, width, icons.cut)  # a second row would push the rows below it down
    return fit([content(left)], right, width, icons.cut)
