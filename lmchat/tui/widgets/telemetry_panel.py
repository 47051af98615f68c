"""Telemetry panel in the right column: draws rows with a label and a value, or a bar.

A meter is a bar whose used part is a fraction. A spark row has a small bar for each value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest

from msgspec import Struct
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from lmchat.tui.widgets.line import (
    FAINT,
    METER,
    MUTED,
    SPARK,
    StyledText,
    StyledTexts,
    content,
    cut,
    fit,
    styled,
)
from lmchat.units import SIGNS


class TextRow(Struct, frozen=True):
    """A label at the left and a value at the right; the label may begin with a sign."""

    label: str
    value: str = ""
    style: str = ""  # of the value
    label_style: str = MUTED
    sign: StyledText = ("", "")


class MeterRow(Struct, frozen=True):
    """Meter."""

    fraction: float | None  # from 0 to 1; None if it is not known


class SparkRow(Struct, frozen=True):
    """Bars of the last values."""

    values: tuple[float | None, ...]  # newest last; None for a failure
    at_least: float = 0.0  # minimum value of a full bar, so that small values look small


TelemetryRow = TextRow | MeterRow | SparkRow

WARNS_ABOVE = 0.75  # share of the window from which the meter warns
ALARMS_ABOVE = 0.95  # share of the window from which the meter alarms
_GAP = 2  # cells between label and value


def meter(fraction: float | None, width: int) -> StyledTexts:
    """Return a bar of `width` cells, whose used part is `fraction` of it, from 0 to 1.

    None is drawn as 0. The used part has the colour of a warning above `WARNS_ABOVE`, and that of
    an error above `ALARMS_ABOVE`.
    """
    share = min(max(fraction or 0.0, 0.0), 1.0)
    used = round(width * share)
    style = "$warning" if share > WARNS_ABOVE else METER
    if share > ALARMS_ABOVE:
        style = "$error"
    return ((SIGNS.used * used, style), (SIGNS.rule * (width - used), FAINT))


def spark(values: Sequence[float | None], width: int, *, at_least: float = 0.0) -> StyledTexts:
    """Return `width` cells with one bar for each of the newest values, the newest at the right.

    A bar of full height is the largest of these values, or `at_least` if that is larger. None is
    a failure, and is drawn as a sign. Neighbours in the same style are joined.
    """
    shown = values[max(len(values) - width, 0) :]
    known = [value for value in shown if value is not None]
    full_bar = max([at_least, *known]) or 1.0  # 1 in place of 0, as values are divided by it
    parts: list[StyledText] = [(" " * (width - len(shown)), SPARK)]  # before the first bar
    for value in shown:
        if value is None:
            parts.append((SIGNS.failed, "$error"))
        else:
            level = round(value / full_bar * len(SIGNS.levels))
            parts.append((SIGNS.levels[max(level, 1) - 1], SPARK))  # 0 has the lowest bar, too
    runs = groupby(parts, key=lambda part: part[1])
    return tuple(("".join(bar for bar, _ in run), style) for style, run in runs)


class TelemetryPanel(Widget):
    """Sections of rows in one widget, which redraws only the rows that have changed."""

    def __init__(self, section_names: Sequence[str]) -> None:
        super().__init__(id="telemetry")
        self._section_names = section_names  # those that are shown, from the top
        self._sections: Mapping[str, Sequence[TelemetryRow]] = {}  # all, by their names
        self._warning = ""  # at the bottom; empty for none
        self._rows: Sequence[TelemetryRow | None] = ()  # as drawn; None is a blank row

    def show(self, sections: Mapping[str, Sequence[TelemetryRow]], warning: str = "") -> None:
        """Show the sections that the panel was made for, and at the bottom a lasting warning."""
        self._sections = sections
        self._warning = warning
        if not (self.is_attached and self.size.height):  # not laid out: `on_resize` follows
            return
        before = self._rows
        self._rows = self._all_rows()
        rows = enumerate(zip_longest(before, self._rows))
        changed = [y for y, (old, new) in rows if old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _all_rows(self) -> Sequence[TelemetryRow | None]:
        """Return the rows that fit; None is a blank row, as between two sections."""
        rows: list[TelemetryRow | None] = []
        for name in self._section_names:
            if rows:
                rows.append(None)
            rows += self._sections.get(name, ())
        height = self.size.height
        if not self._warning:
            return rows[:height]
        lines = styled(f"! {self._warning}").wrap(max(self.size.width, 1))
        warning = [TextRow(line.plain.rstrip(), label_style="$warning") for line in lines]
        # rows above the warning, and above the blank row that divides them from it
        room = max(height - len(warning) - 1, 0)
        padding = [None] * (room - len(rows))  # none if there are more rows than room
        return [*rows[:room], *padding, None, *warning]

    def on_resize(self) -> None:
        self._rows = self._all_rows()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw the row `y`. Only changed rows are drawn; all would cost a tenth of an answer."""
        width = self.size.width
        row = self._rows[y] if y < len(self._rows) else None
        if row is None:
            return Strip.blank(width, self.rich_style)
        line = _draw(row, width)
        return Visual.to_strips(self, line, width, 1, self.visual_style)[0]


def _draw(row: TelemetryRow, width: int) -> Content:
    """Return a row as a line of `width` cells.

    If label and value do not fit beside each other, the value is cut, but to no less than half of
    the width. If they still do not fit, the label is cut.
    """
    match row:
        case MeterRow(fraction):
            return content(meter(fraction, width))
        case SparkRow(values, at_least):
            return content(spark(values, width, at_least=at_least))
        case TextRow():
            left = content((row.sign, (row.label, row.label_style)))
            room = max(width - left.cell_length - _GAP, width // 2)
            return fit([left], cut(styled(row.value, row.style), room), width)
