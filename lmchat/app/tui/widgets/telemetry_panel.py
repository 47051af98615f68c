"""Telemetry panel in the right column: draws rows with a label and a value, or bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from lmchat.app.cells import split_at_cell
from lmchat.app.markdown_lines.wrap import text_of
from lmchat.app.tui.widgets.line import (
    FAINT,
    METER,
    MUTED,
    SPARK,
    SPEED,
    SPEED_FILL,
    StyledText,
    StyledTexts,
    content,
    cut,
    cut_middle,
    fit,
    styled,
    wrapped_lines,
)
from lmchat.base.safe_text import on_one_line
from lmchat.base.units import SIGNS


class TextRow(Struct, frozen=True):
    """Label at the left, which may start with a sign, and value at the right."""

    label: str
    value: str = ""
    style: str = ""  # of the value
    label_style: str = MUTED
    sign: StyledText = ("", "")
    is_name: bool = False  # a long label has two rows
    says_now: bool = True  # else it is only among all figures

    @property
    def is_warning(self) -> bool:
        """Whether one of its texts has the colour of a warning or an error."""
        styles = f"{self.style} {self.label_style} {self.sign[1]}"
        return "$warning" in styles or "$error" in styles


class BarRow(Struct, frozen=True, kw_only=True):
    """A bar, or bars, over the whole width."""

    draw: Callable[[int], StyledTexts]  # in so many cells
    says_now: bool  # as in a `TextRow`


GivenRow = TextRow | BarRow
Section = Sequence[GivenRow]
_DrawnRow = TextRow | StyledTexts
_Rows = Sequence[_DrawnRow]

WARNS_FROM = 0.8  # share of the window
ALARMS_ABOVE = 0.95  # share of the window
_GAP = 2  # cells between label and value
_BLANK = TextRow("")


def has_columns(screen: Screen[Any]) -> bool:
    """Whether panels have columns beside the chat; else they lie over it."""
    return screen.has_class("-wide") or screen.has_class("-roomy")


def meter(fraction: float | None, width: int) -> StyledTexts:
    """Draw a bar of `width` cells; `fraction` of it, from 0 to 1, is used."""
    share = min(max(fraction or 0.0, 0.0), 1.0)
    used = round(width * share)
    style = "$warning" if share >= WARNS_FROM else METER
    if share > ALARMS_ABOVE:
        style = "$error"
    return ((SIGNS.used * used, style), (SIGNS.rule * (width - used), FAINT))


def spark(values: Sequence[float | None], width: int, *, at_least: float = 0.0) -> StyledTexts:
    """Draw a bar for each of the newest values, the newest at the right.

    A full bar is the largest of them, or `at_least` if that is larger. None is a failure.
    """
    shown = values[max(len(values) - width, 0) :]
    known = [value for value in shown if value is not None]
    full_bar = max([at_least, *known]) or 1.0  # values are divided by it
    parts: list[StyledText] = [(" " * (width - len(shown)), SPARK)]  # before the first bar
    for value in shown:
        if value is None:
            parts.append((SIGNS.failed, "$error"))
        else:
            level = round(value / full_bar * len(SIGNS.levels))
            parts.append((SIGNS.levels[max(level, 1) - 1], SPARK))  # 0 has the lowest bar, too
    return _joined(parts)


def graph(values: Sequence[float], width: int, *, is_upper: bool) -> StyledTexts:
    """Draw one of the two rows of a graph, in which the largest value has sixteen levels.

    The last cell of each bar has its own style, so that one sees a line.
    """
    shown = values[max(len(values) - width, 0) :]
    full_bar = max(shown, default=0.0) or 1.0
    bars = f" {SIGNS.levels}"
    half = len(SIGNS.levels)
    cells: list[StyledText] = [(" " * (width - len(shown)), SPEED)]
    for value in shown:
        level = round(value / full_bar * 2 * half)
        if is_upper:
            cells.append((bars[max(level - half, 0)], SPEED))
        else:
            cells.append((bars[min(level, half)], SPEED_FILL if level > half else SPEED))
    return _joined(cells)


def _joined(texts: Sequence[StyledText]) -> StyledTexts:
    runs = groupby(texts, key=lambda text: text[1])
    return tuple((text_of(run), style) for style, run in runs)


def _stacked(sections: Sequence[_Rows], *, has_blanks: bool = True) -> _Rows:
    rows: list[_DrawnRow] = []
    for section in sections:
        if rows and section and has_blanks:
            rows.append(_BLANK)
        rows += section
    return rows


def _fitting(sections: Sequence[_Rows], height: int) -> _Rows:
    """Return the rows that fit.

    Without room, blank rows go first, then bars, then what says nothing now; and at last the
    others from the bottom, except warnings.
    """
    for rows in (_stacked(sections), _stacked(sections, has_blanks=False)):
        if len(rows) <= height:
            return rows
    texts = [row for section in sections for row in section if isinstance(row, TextRow)]
    by_need = sorted(
        range(len(texts)), key=lambda y: (not texts[y].is_warning, not texts[y].says_now)
    )
    return [texts[y] for y in sorted(by_need[:height])]


class TelemetryPanel(Widget):
    """Sections of rows in one widget, which redraws only changed rows."""

    def __init__(self, section_names: Sequence[str]) -> None:
        super().__init__(id="telemetry")
        self.shows_all = False  # in its column; over the chat it always does
        self._section_names = section_names  # from the top
        self._sections: Callable[[], Mapping[str, Section]] = dict
        self._warning = ""  # at the bottom
        self._lines: _Rows = ()

    def show(self, sections: Callable[[], Mapping[str, Section]], warning: str = "") -> None:
        """Show the sections of the panel, and at the bottom a lasting warning.

        A hidden panel does not call `sections`.
        """
        self._sections = sections
        self._warning = warning
        if not (self.is_attached and self.size.height):  # not laid out: `on_resize` follows
            return
        before = self._lines
        self._lines = self._fitting_lines()
        lines = enumerate(zip_longest(before, self._lines))
        changed = [y for y, (old, new) in lines if old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _fitting_lines(self) -> _Rows:
        width, height = self.size
        warning: _Rows = ()
        if self._warning:
            lines = wrapped_lines(f"! {self._warning}", width)
            warning = [TextRow(line, label_style="$warning") for line in lines]
        room = height - len(warning)
        has_all = self.shows_all or not has_columns(self.screen)
        given = self._sections()
        sections = [
            [
                drawn
                for row in given.get(name, ())
                if has_all or row.says_now
                for drawn in _in_width(row, width)
            ]
            for name in self._section_names
        ]
        rows = _fitting(sections, max(room - bool(warning), 0))  # above the warning, a blank row
        return [*rows, *[_BLANK] * (room - len(rows)), *warning]

    def on_resize(self) -> None:
        self._lines = self._fitting_lines()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw only changed rows; all would cost a tenth of an answer."""
        row = self._lines[y] if y < len(self._lines) else _BLANK
        if row == _BLANK:
            return Strip([])  # Textual fills it with the background
        width = self.size.width
        return Visual.to_strips(self, _draw(row, width), width, 1, self.visual_style)[0]


def _in_width(row: GivenRow, width: int) -> _Rows:
    """Return one row; or two for a long name, cut to them if it is longer still."""
    if isinstance(row, BarRow):
        return (row.draw(width),)
    if not row.is_name:
        return (row,)
    name = on_one_line(row.label)
    room = width - cell_len(row.sign[0])
    value_room = cell_len(on_one_line(row.value)) + _GAP if row.value else 0
    if cell_len(name) <= room - value_room:
        return (row,)
    first, rest = split_at_cell(name, room)
    # a name has few blanks; signs such as `-` and `/` divide its parts
    end = max(first.rfind(char) for char in " -_/:.@") + 1
    if end > len(first) // 2:
        first, rest = name[:end], name[end:]
    # names of models often differ only at their end
    rest = cut_middle(rest, width - value_room)
    return replace(row, label=first, value=""), replace(row, label=rest, sign=("", ""))


def _draw(row: _DrawnRow, width: int) -> Content:
    """Draw a row in `width` cells.

    Without room, the value is cut, but to no less than half of the width; then the label.
    """
    if not isinstance(row, TextRow):
        return content(row)
    left = content((row.sign, (row.label, row.label_style)))
    room = max(width - left.cell_length - _GAP, width // 2)
    return fit([left], cut(styled(row.value, row.style), room), width)
