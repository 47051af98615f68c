"""Screen of the doctor: each check with verdict, cause and next step.

A check has one or more findings. A finding has a grade (ok, warning, fault, …), a cause, and maybe
a next step; it belongs to a group, which has a heading. On a wide screen, names have a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.worker import Worker

from lmchat.domain.finding import Finding, Grade, Group
from lmchat.services.examination import NEXT, Check, Examination, report_text, summary, texts_of
from lmchat.text import safe_line
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED, STRONG, StyledTexts, content
from lmchat.tui.widgets.row_list import ListRow

_STYLES: Mapping[Grade, str] = {
    Grade.OK: "$success",
    Grade.WARNING: "$warning",
    Grade.FAULT: "$error",
}
_QUIET = (Grade.OK, Grade.ABSENT, Grade.NOT_TRIED)
_LABEL_WIDTH = max(map(len, Grade))
_WIDE = 64  # columns from which names have their own column

# Widths in cells
_MOST_NAME = 18
_SIGN_WIDTH = 2
_GAP = 2
_LEAST_TEXT = 8


class DoctorScreen(ListDialog[None]):
    """Results of all checks; `r` repeats them, `y` copies a report without private names."""

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
        self._found: dict[str, Sequence[Finding]] = {}  # of the checks that have ended, by name

    def on_mount(self) -> None:
        self.call_after_refresh(self.action_look_again)

    def action_look_again(self) -> None:
        _: Worker[None] = self.run_worker(self._look, name="doctor", group="doctor", exclusive=True)

    def action_copy_report(self) -> None:
        findings = self._examination.in_order(self._found)
        if findings:
            self.app.copy_to_clipboard(report_text(findings, home=self._examination.home))

    async def _look(self) -> None:
        """Run all checks, and show the findings of each as it ends."""
        self._found = {}
        self.draw()
        async with aclosing(self._examination.run()) as examined:
            async for check, findings in examined:
                self._found[check.check] = findings
                self.draw()

    def draw(self) -> None:
        """Draw the groups with a finding or a pending check, each below its heading.

        The title says how many checks have ended, or at the end what was found.
        """
        width = self.list.text_width if self.can_show else 0
        if width < 1:
            return
        checks = self._examination.checks
        findings = self._examination.in_order(self._found)
        pending = [check for check in checks if check.check not in self._found]
        names = [finding.name for finding in findings] + [check.name for check in pending]
        name_width = _width_of_names(names) if width >= _WIDE else 0

        rows: list[ListRow] = []
        for group in Group:
            group_rows: list[ListRow] = []
            for finding in findings:
                if finding.group is group:
                    group_rows += self._finding_rows(finding, width, name_width)
            for check in pending:
                if check.group is group:
                    group_rows.append(self._pending_row(check, name_width))
            if not group_rows:
                continue
            if rows:
                rows.append(ListRow())
            heading = _line(((group.value, STRONG),))
            rows += [heading, *group_rows]
        done = len(checks) - len(pending)
        self.show_rows(rows, f"{done} of {len(checks)} checked" if pending else summary(findings))

    def _finding_rows(self, finding: Finding, width: int, name_width: int) -> Iterator[ListRow]:
        """Yield the rows of a finding: sign, name and grade in the first one, and its words.

        `name_width` is the width of the column of names, beside which the words are; if it is 0,
        there is no such column, and they are below the name.
        """
        style = _STYLES.get(finding.grade, MUTED)
        sign = (f"{self._icon_of(finding.grade)} ", style)
        name = safe_line(finding.name)
        label: StyledTexts = ((finding.grade.label, MUTED if finding.grade in _QUIET else style),)
        if name_width:
            indent = _SIGN_WIDTH + name_width + _GAP
            lines = self._lines(finding, width - indent - _LABEL_WIDTH - _GAP)
            padded = (set_cell_size(name, name_width) + " " * _GAP, "")
            yield _line((sign, padded, *lines.pop(0)), label)
        else:
            indent = _SIGN_WIDTH
            lines = self._lines(finding, width - indent)
            yield _line((sign, (name, "")), label)
        for parts in lines:
            yield _line(((" " * indent, ""), *parts))

    def _lines(self, finding: Finding, room: int) -> list[StyledTexts]:
        """Return the lines of the cause, then of the next steps, wrapped at `room` cells.

        The first line of a next step begins with `NEXT` in its own style.
        """
        style = MUTED if finding.grade in _QUIET else ""
        cause, *steps = texts_of(finding, self._examination.home)
        lines: list[StyledTexts] = [((line, style),) for line in _wrapped(cause, room)]
        for step in steps:
            first, *rest = _wrapped(step, room)
            words = first.removeprefix(NEXT.rstrip()).lstrip()  # wrapping may strip blanks of NEXT
            lines.append(((NEXT, MUTED), (words, "")))
            lines += [((line, ""),) for line in rest]
        return lines

    def _pending_row(self, check: Check, name_width: int) -> ListRow:
        """Return the row of a check that has not ended; `name_width` is as in `_finding_rows`."""
        icons = icons_for(self)
        name = set_cell_size(check.name, name_width) if name_width else check.name
        checking = (f"checking {icons.cut}", MUTED)
        return _line(((f"{icons.off} ", MUTED), (name + " " * _GAP, ""), checking))

    def _icon_of(self, grade: Grade) -> str:
        icons = icons_for(self)
        shapes = {Grade.OK: icons.ready, Grade.WARNING: icons.degraded, Grade.FAULT: icons.down}
        return shapes.get(grade, icons.off)


def _width_of_names(names: Sequence[str]) -> int:
    """Return the width in cells of the longest name, at most `_MOST_NAME`."""
    widths = [cell_len(safe_line(name)) for name in names]
    return min(max(widths, default=0), _MOST_NAME)


def _wrapped(text: str, room: int) -> list[str]:
    wrapped = content(((text, ""),)).wrap(max(room, _LEAST_TEXT))
    return [line.plain.rstrip() for line in wrapped]


def _line(parts: StyledTexts, right: StyledTexts = ()) -> ListRow:
    """Return a row that cannot be chosen, and has no bar at its left."""
    return ListRow((parts,), right, is_heading=True)
