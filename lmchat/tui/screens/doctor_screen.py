"""Screen of the doctor: each check with verdict, cause and next step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.worker import Worker

from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.services.doctor import STEP_IS_TOLD, Check, Examination, report_text, summary, without_home
from lmchat.text import safe_line
from lmchat.tui.icons import Signs, signs_for
from lmchat.tui.intents import CopyText
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED, STRONG, Parts, content
from lmchat.tui.widgets.row_list import ListRow

_STYLES: Mapping[Grade, str] = {Grade.OK: "$success", Grade.WARNING: "$warning", Grade.FAULT: "$error"}
_QUIET = (Grade.OK, Grade.ABSENT, Grade.NOT_TRIED)
_WIDE = 64
"""Columns from which names have their own column."""
_MOST_NAME = 18
_SIGN_WIDTH = 2
_GAP = 2
_LEAST = 8


class DoctorScreen(ListDialog[None]):
    """Results of all checks; `r` repeats them, `y` copies a report without folder names and keys."""

    AUTO_FOCUS = ""
    HEADING = "Doctor"
    HINTS = (("r", "look again"), ("y", "copy the report"), ("↑ ↓", "scroll"))
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
            self.post_message(CopyText(report_text(findings, home=self._examination.home)))

    async def _look(self) -> None:
        self._found = {}
        self.draw()
        async with aclosing(self._examination.run()) as examined:
            async for check, findings in examined:
                self._found[check.check] = findings
                self.draw()

    def draw(self) -> None:
        if not self.can_show or self.list.text_width < 1:
            return
        checks, findings = self._examination.checks, self._examination.in_order(self._found)
        pending = [check for check in checks if check.check not in self._found]
        page = _Page(findings, pending, self.list.text_width, signs_for(self), self._examination.home)
        rows = page.rows()
        done = len(checks) - len(pending)
        self.show_rows(rows, f"{done} of {len(checks)} looked at" if pending else summary(findings))


class _Page:
    """Rows of the page for one width."""

    def __init__(
        self, findings: Sequence[Finding], pending: Sequence[Check], width: int, signs: Signs, home: str
    ) -> None:
        self._findings, self._pending, self._width = findings, pending, width
        self._signs, self._home = signs, home
        names = [one.name for one in findings] + [one.name for one in pending]
        longest = max((cell_len(safe_line(name)) for name in names), default=0)
        self._name_width = min(longest, _MOST_NAME) if width >= _WIDE else 0

    def rows(self) -> list[ListRow]:
        rows: list[ListRow] = []
        for group in Group:
            below = [row for one in self._findings if one.group is group for row in self._finding(one)]
            below += [self._waiting(one) for one in self._pending if one.group is group]
            if below:
                rows += [ListRow()] if rows else []
                rows += [_line(((group.value, STRONG),)), *below]
        return rows

    def _finding(self, one: Finding) -> Iterator[ListRow]:
        style, name = _STYLES.get(one.grade, MUTED), safe_line(one.name)
        sign: Parts = ((f"{self._sign(one.grade)} ", style),)
        word: Parts = ((one.grade.value, style if one.grade not in _QUIET else MUTED),)
        indent, room = _SIGN_WIDTH, self._width - _SIGN_WIDTH
        if self._name_width:
            indent += self._name_width + _GAP
            room = self._width - indent - max(len(grade) for grade in Grade) - _GAP
        told = self._told(one, max(room, _LEAST))
        if self._name_width:
            padded = set_cell_size(name, self._name_width) + " " * _GAP
            yield _line((*sign, (padded, ""), *next(told, ())), word)
        else:
            yield _line((*sign, (name, "")), word)
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
        text = without_home(safe_line(text), self._home)
        return [line.plain.rstrip() for line in content(((text, ""),)).wrap(room)]

    def _waiting(self, one: Check) -> ListRow:
        name = set_cell_size(one.name, self._name_width) if self._name_width else one.name
        looking = (f"looking {self._signs.cut}", MUTED)
        return _line(((f"{self._signs.off} ", MUTED), (name + " " * _GAP, ""), looking))

    def _sign(self, grade: Grade) -> str:
        signs = self._signs
        shapes = {Grade.OK: signs.ready, Grade.WARNING: signs.degraded, Grade.FAULT: signs.down}
        return shapes.get(grade, signs.off)


def _line(parts: Parts, right: Parts = ()) -> ListRow:
    return ListRow((parts,), right, is_heading=True)
