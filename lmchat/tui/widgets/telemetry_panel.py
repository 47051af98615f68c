"""Telemetry panel in the right column: draws rows with a label and a value, or bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import groupby, zip_longest
from typing import Any

from msgspec import Struct
from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from lmchat.cells import split_at_cell
from lmchat.safe_text import on_one_line
from lmchat.tui.widgets.line import (
    FAINT,
    METER,
    MODEL,
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
)
from lmchat.units import SIGNS


class Form(Enum):
    """How much the panel shows of each section."""

    SHORT = "short"  # what says something now
    ALL = "all"  # every figure, unknown ones as `–`
    JOINED = "joined"  # every figure, several in a row
    COMPACT = "compact"  # the same in eleven rows, without bars


class TextRow(Struct, frozen=True):
    """Label at the left, which may begin with a sign, and value at the right."""

    label: str
    value: str = ""
    style: str = ""  # of the value
    label_style: str = MUTED
    sign: StyledText = ("", "")


class MeterRow(Struct, frozen=True):
    """Bar whose used part is a fraction."""

    fraction: float | None  # from 0 to 1


class SparkRow(Struct, frozen=True):
    """Bars of the last values."""

    values: tuple[float | None, ...]  # newest last; None for a failure
    at_least: float = 0.0  # value of a full bar, at least, so that small values look small


class GraphRow(Struct, frozen=True):
    """The upper or the lower row of the graph of the speed."""

    values: tuple[float, ...]  # newest last
    is_upper: bool


class NameRow(Struct, frozen=True):
    """A name, also in a second row, and a value at the right of the last one."""

    name: str
    value: str = ""
    style: str = ""  # of the value
    name_style: str = MODEL
    sign: StyledText = ("", "")


DrawnRow = TextRow | MeterRow | SparkRow | GraphRow
Sections = Mapping[str, Sequence[DrawnRow | NameRow]]

WARNS_FROM = 0.8  # share of the window
ALARMS_ABOVE = 0.95  # share of the window
_GAP = 2  # cells between label and value


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
    return tuple(("".join(text for text, _ in run), style) for style, run in runs)


class TelemetryPanel(Widget):
    """Sections of rows in one widget, which redraws only changed rows."""

    def __init__(self, section_names: Sequence[str]) -> None:
        super().__init__(id="telemetry")
        self.shows_all = False  # in its column; over the chat it always does
        self._section_names = section_names  # from the top
        self._sections: Callable[[Form], Sections] = lambda _form: {}
        self._warning = ""  # at the bottom
        self._rows: Sequence[DrawnRow | None] = ()  # None is a blank row

    def show(self, sections: Callable[[Form], Sections], warning: str = "") -> None:
        """Show the sections of the panel, and at the bottom a lasting warning."""
        self._sections = sections
        self._warning = warning
        if not (self.is_attached and self.size.height):  # not laid out: `on_resize` follows
            return
        before = self._rows
        self._rows = self._all_rows()
        rows = enumerate(zip_longest(before, self._rows))
        width = self.size.width
        changed = [y for y, (old, new) in rows if not _looks_same(old, new, width)]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def _all_rows(self) -> Sequence[DrawnRow | None]:
        """Return the rows that fit; None is a blank one."""
        height = self.size.height
        if not self._warning:
            return self._fitting(height)
        lines = styled(f"! {self._warning}").wrap(max(self.size.width, 1))
        warning = [TextRow(line.plain.rstrip(), label_style="$warning") for line in lines]
        # 1: the blank row above the warning
        room = max(height - len(warning) - 1, 0)
        rows = self._fitting(room)
        padding = [None] * (room - len(rows))
        return [*rows, *padding, None, *warning]

    def _fitting(self, height: int) -> Sequence[DrawnRow | None]:
        """Return the roomiest rows that fit.

        Without room, blank rows go first, then bars; then figures share a row.
        """
        form = Form.JOINED
        if has_columns(self.screen):
            form = Form.ALL if self.shows_all else Form.SHORT
        rows = self._rows_of(form)
        for fitting in (
            rows,
            text := [row for row in rows if row is not None],
            [row for row in text if isinstance(row, TextRow)],
        ):
            if len(fitting) <= height:
                return fitting
        return [row for row in self._rows_of(Form.COMPACT) if row is not None][:height]

    def _rows_of(self, form: Form) -> list[DrawnRow | None]:
        sections = self._sections(form)
        rows: list[DrawnRow | None] = []
        for name in self._section_names:
            section = sections.get(name, ())
            if rows and section:
                rows.append(None)
            for row in section:
                rows += _in_rows(row, self.size.width) if isinstance(row, NameRow) else [row]
        return rows

    def on_resize(self) -> None:
        self._rows = self._all_rows()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw only changed rows; all would cost a tenth of an answer."""
        width = self.size.width
        row = self._rows[y] if y < len(self._rows) else None
        if row is None:
            return Strip([])  # Textual fills it with the background
        line = _draw(row, width)
        return Visual.to_strips(self, line, width, 1, self.visual_style)[0]


def _looks_same(old: DrawnRow | None, new: DrawnRow | None, width: int) -> bool:
    if isinstance(old, MeterRow) and isinstance(new, MeterRow):
        return meter(old.fraction, width) == meter(new.fraction, width)
    return old == new


def _in_rows(row: NameRow, width: int) -> list[TextRow]:
    """Return one row; or two for a long name, cut to them if it is longer still."""
    name = on_one_line(row.name)
    last = TextRow(name, row.value, row.style, row.name_style, row.sign)
    room = width - cell_len(row.sign[0])
    value_room = cell_len(on_one_line(row.value)) + _GAP if row.value else 0
    if cell_len(name) <= room - value_room:
        return [last]
    first, rest = split_at_cell(name, room)
    # a name has few blanks; signs such as `-` and `/` divide its parts
    end = max(first.rfind(char) for char in " -_/:.@") + 1
    if end > len(first) // 2:
        first, rest = name[:end], name[end:]
    return [
        TextRow(first, label_style=row.name_style, sign=row.sign),
        # names of models often differ only at their end
        TextRow(cut_middle(rest, width - value_room), row.value, row.style, row.name_style),
    ]


def _draw(row: DrawnRow, width: int) -> Content:
    """Draw a row in `width` cells.

    Without room, the value is cut, but to no less than half of the width; then the label.
    """
    match row:
        case MeterRow(fraction):
            return content(meter(fraction, width))
        case SparkRow(values, at_least):
            return content(spark(values, width, at_least=at_least))
        case GraphRow(values, is_upper):
            return content(graph(values, width, is_upper=is_upper))
        case TextRow():
            left = content((row.sign, (row.label, row.label_style)))
            room = max(width - left.cell_length - _GAP, width // 2)
            return fit([left], cut(styled(row.value, row.style), room), width)
