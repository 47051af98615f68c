"""Screen of the doctor: each check with verdict, cause and next step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.worker import Worker

from lmchat.domain.finding import Finding, Grade, Group
from lmchat.services.doctor import (
    STEP_IS_TOLD,
    Check,
    Examination,
    report_text,
    summary,
    without_home,
)
from lmchat.text import safe_line
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED, STRONG, Parts, content
from lmchat.tui.widgets.row_list import ListRow

_STYLES: Mapping[Grade, str] = {
    Grade.OK: "$success",
    Grade.WARNING: "$warning",
    Grade.FAULT: "$error",
}
_QUIET = (Grade.OK, Grade.ABSENT, Grade.NOT_TRIED)
_WIDE = 64  # columns from which names have their own column
_MOST_NAME = 18
_SIGN_WIDTH = 2
_GAP = 2
_LEAST = 8


class DoctorScreen(ListDialog[None]):
    """Results of all checks; `r` repeats them, `y` copies a report without folder names and keys."""

    AUTO_FOCUS = ""
    HEADING = "Doctor"
    HINTS = (("r", "check again"), ("y", "copy the report"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "look_again", show=False),
        Binding("y", "copy_report", show=False),
        Binding("enter", "leave", show=False),
    ]

    def __init__(self, examination: Examination) -> None:
        super().__init__()
        self._examination = examination
        self._found: dict[str, Sequence[Finding]] = {}

    def on_mount(self) -> None:
        self.call_after_refresh(self.action_look_again)

    def action_look_again(self) -> None:
        _: Worker[None] = self.run_worker(self._look, name="doctor", group="doctor", exclusive=True)

    def action_copy_report(self) -> None:
        if findings := self._examination.in_order(self._found):
            self.app.copy_to_clipboard(report_text(findings, home=self._examination.home))

    async def _look(self) -> None:
        self._found = {}
        self.draw()
        async with aclosing(self._examination.run()) as examined:
            async for check, findings in examined:
                self._found[check.check] = findings
                self.draw()

    def draw(self) -> None:
        width = self.list.text_width if self.can_show else 0
        if width < 1:
            return
        checks, findings = self._examination.checks, self._examination.in_order(self._found)
        pending = [check for check in checks if check.check not in self._found]
        names = [*(safe_line(one.name) for one in findings), *(one.name for one in pending)]
        column = min(max(map(cell_len, names), default=0), _MOST_NAME) if width >= _WIDE else 0
        rows: list[ListRow] = []
        for group in Group:
            below = [
                row
                for one in findings
                if one.group is group
                for row in self._finding(one, width, column)
            ]
            below += [self._waiting(one, column) for one in pending if one.group is group]
            if below:
                rows += [*([ListRow()] if rows else []), _line(((group.value, STRONG),)), *below]
        done = len(checks) - len(pending)
        self.show_rows(rows, f"{done} of {len(checks)} checked" if pending else summary(findings))

    def _finding(self, one: Finding, width: int, column: int) -> Iterator[ListRow]:
        """Yield the rows of a finding; where there is a column for names, what is told stands beside it."""
        style, name, icons = _STYLES.get(one.grade, MUTED), safe_line(one.name), icons_for(self)
        shapes = {Grade.OK: icons.ready, Grade.WARNING: icons.degraded, Grade.FAULT: icons.down}
        sign = (f"{shapes.get(one.grade, icons.off)} ", style)
        word: Parts = ((one.grade.label, style if one.grade not in _QUIET else MUTED),)
        indent, room = _SIGN_WIDTH, width - _SIGN_WIDTH
        if column:
            indent += column + _GAP
            room = width - indent - max(map(len, Grade)) - _GAP
        told = self._told(one, max(room, _LEAST))
        first = (
            ((set_cell_size(name, column) + " " * _GAP, ""), *next(told, ()))
            if column
            else ((name, ""),)
        )
        yield _line((sign, *first), word)
        for parts in told:
            yield _line(((" " * indent, ""), *parts))

    def _told(self, one: Finding, room: int) -> Iterator[Parts]:
        """Yield the lines of the cause, and of the step where it is needed."""
        for line in self._wrapped(one.cause, room):
            yield ((line, MUTED if one.grade in _QUIET else ""),)
        if one.next_step and one.grade in STEP_IS_TOLD:
            first, *rest = self._wrapped(f"next: {one.next_step}", room)
            yield (("next: ", MUTED), (first.removeprefix("next:").lstrip(), ""))
            for line in rest:
                yield ((line, ""),)

    def _wrapped(self, text: str, room: int) -> list[str]:
        text = without_home(safe_line(text), self._examination.home)
        return [line.plain.rstrip() for line in content(((text, ""),)).wrap(room)]

    def _waiting(self, one: Check, column: int) -> ListRow:
        name, icons = set_cell_size(one.name, column) if column else one.name, icons_for(self)
        looking = (f"checking {icons.cut}", MUTED)
        return _line(((f"{icons.off} ", MUTED), (name + " " * _GAP, ""), looking))


def _line(parts: Parts, right: Parts = ()) -> ListRow:
    return ListRow((parts,), right, is_heading=True)
