"""Telemetry panel in the right column: draws the rows that `telemetry_rows` makes of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest
from typing import Any

from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from lmchat.tui.icons import icons_for
from lmchat.tui.widgets.line import (
    FAINT,
    METER,
    SPARK,
    StyledText,
    StyledTexts,
    content,
    cut,
    cut_middle,
    fit,
    styled,
)
from lmchat.tui.widgets.telemetry_rows import (
    SECTIONS,
    MeterRow,
    SparkRow,
    TelemetryRow,
    TelemetrySnapshot,
    TextRow,
    telemetry_rows,
)
from lmchat.units import Icons

WARNS_ABOVE = 0.75  # share of the window from which the meter warns
ALARMS_ABOVE = 0.95  # share of the window from which the meter alarms
_SMALLEST_FULL_BAR = 0.001  # so that bars of zeros have a height
_MOST_WARNING_ROWS = 7
_GAP = 2  # cells between label and value
_NULL = Style.null()


def meter(fraction: float | None, width: int, icons: Icons) -> StyledTexts:
    """Return a bar of `width` cells, whose used part is `fraction` of it, from 0 to 1.

    None is drawn as 0. The used part has the colour of a warning above `WARNS_ABOVE`, and that of
    an error above `ALARMS_ABOVE`.
    """
    share = min(max(fraction or 0.0, 0.0), 1.0)
    used = round(width * share)
    style = METER
    if share > ALARMS_ABOVE:
        style = "$error"
    elif share > WARNS_ABOVE:
        style = "$warning"
    return ((icons.used * used, style), (icons.rule * (width - used), FAINT))


def spark(
    values: Sequence[float | None], width: int, icons: Icons, *, at_least: float = 0.0
) -> StyledTexts:
    """Return `width` cells with one bar for each of the newest values, the newest at the right.

    A bar of full height is the largest of these values, or `at_least` if that is larger. None is
    a failure, and is drawn as a sign. Neighbours in the same style are joined.
    """
    shown = values[max(len(values) - width, 0) :] if width > 0 else ()
    known = [value for value in shown if value is not None]
    full_bar = max([at_least, _SMALLEST_FULL_BAR, *known])
    parts: list[StyledText] = [(" " * (width - len(shown)), SPARK)]
    for value in shown:
        if value is None:
            parts.append((icons.down, "$error"))
        else:
            level = max(round(value / full_bar * len(icons.levels)), 1)  # 0 has the lowest bar, too
            parts.append((icons.levels[level - 1], SPARK))
    runs = groupby(parts, key=lambda part: part[1])
    return tuple(("".join(bar for bar, _ in run), style) for style, run in runs)


class TelemetryPanel(Widget):
    """Telemetry rows in one widget; a snapshot redraws only the changed rows."""

    def __init__(self, sections: Sequence[str] = SECTIONS, **options: Any) -> None:
        super().__init__(**options)
        self._sections = tuple(sections)
        self._snapshot = TelemetrySnapshot()
        self._now_s = 0.0
        self._rows: Sequence[TelemetryRow | None] = ()
        self._is_started = False

    def start(self) -> None:
        """Draw rows from now on. The panel is blank before that, to make the first paint fast."""
        self._is_started = True
        self.on_resize()

    def show(self, snapshot: TelemetrySnapshot, now_s: float) -> None:
        """Show a snapshot: redraw the rows that have changed, if the panel is started and visible.

        `now_s` is the time of the snapshot, by the same clock as the times in it.
        """
        self._snapshot = snapshot
        self._now_s = now_s
        is_laid_out = self.is_attached and self.size.height > 0
        if not is_laid_out or not self._is_started:
            return
        before = self._rows
        self._rows = self._all_rows()
        rows = enumerate(zip_longest(before, self._rows))
        changed = [y for y, (old, new) in rows if old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _all_rows(self) -> Sequence[TelemetryRow | None]:
        """Return the rows for the height of the panel; None is a blank row.

        A warning is at the bottom, with at least one blank row above it.
        """
        height = self.size.height
        warning = self._warning_rows()
        room = height - len(warning) - bool(warning)
        rows = telemetry_rows(self._snapshot, self._now_s, sections=self._sections, height=room)
        if not warning:
            return rows
        blank = [None] * (height - len(warning) - len(rows))
        return [*rows, *blank, *warning]

    def _warning_rows(self) -> list[TelemetryRow]:
        """Return the warning of the snapshot, wrapped, at most `_MOST_WARNING_ROWS` rows of it.

        Return an empty list without a warning.
        """
        words = self._snapshot.warning
        if not words:
            return []
        lines = styled(f"! {words}").wrap(max(self.size.width, 1))
        shown = lines[:_MOST_WARNING_ROWS]
        return [TextRow(left=((line.plain.rstrip(), "$warning"),)) for line in shown]

    def on_resize(self) -> None:
        if not self._is_started:
            return
        self._rows = self._all_rows()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one row: drawing all for one changed figure costs a tenth of a streaming answer."""
        width = self.size.width
        if not self._is_started:
            # a style for each row would delay the first paint; filters of Textual need some style
            return Strip.blank(width, _NULL)
        row = self._rows[y] if y < len(self._rows) else None
        if row is None:
            return Strip.blank(width, self.rich_style)
        line = _draw(row, width, icons_for(self))
        return Visual.to_strips(self, line, width, 1, self.visual_style)[0]


def _draw(row: TelemetryRow, width: int, icons: Icons) -> Content:
    """Return a row as a line of `width` cells."""
    match row:
        case MeterRow(fraction=fraction):
            return content(meter(fraction, width, icons))
        case SparkRow(values=values, at_least=at_least):
            return content(spark(values, width, icons, at_least=at_least))
        case TextRow():
            return _draw_text(row, width, icons)


def _draw_text(row: TextRow, width: int, icons: Icons) -> Content:
    """Return label and value as a line of `width` cells.

    Where they have no room beside each other, these steps of shortening follow, each if `row` asks
    for it: the value is replaced by its short form; the value is cut at its end; the label is cut
    in its middle. At last the label is cut at its end.
    """
    parts = row.left
    if row.sign:
        parts = ((f"{getattr(icons, row.sign)} ", row.sign_style), *parts)
    left = content(parts)
    right = content(row.right)
    if row.short and left.cell_length + _GAP + right.cell_length > width:
        right = content(row.short)
    if row.is_words:
        right = cut(right, width - left.cell_length - _GAP, icons.cut)
    if row.loses_middle:
        room = width - (right.cell_length + _GAP if right else 0)
        left = content([(cut_middle(text, room, icons.cut), style) for text, style in parts])
    right = cut(right, width, icons.cut)  # a second row would push the rows below it down
    return fit([left], right, width, icons.cut)
