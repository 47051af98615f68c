"""The doctor's page: every check with verdict, cause and next step, as they end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.worker import Worker

from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.services.doctor import (
    STEP_IS_TOLD,
    Check,
    Examination,
    Examined,
    in_order,
    report_text,
    summary,
    without_home,
)
from lmchat.text import safe_line
from lmchat.tui.icons import Signs, signs_for
from lmchat.tui.intents import CopyText
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED, STRONG, Parts, content
from lmchat.tui.widgets.row_list import ListRow, RowList

_STYLES: Mapping[Grade, str] = {Grade.OK: "$success", Grade.WARNING: "$warning", Grade.FAULT: "$error"}
_QUIET = (Grade.OK, Grade.ABSENT, Grade.NOT_TRIED)
_WIDE = 64
_MOST_NAME = 18
_SIGN_WIDTH = 2
_GAP = 2
_LEAST = 8


def doctor_rows(
    findings: Sequence[Finding], pending: Sequence[Check], width: int, signs: Signs, home: str
) -> list[ListRow]:
    """Return the rows for a width; checks that are still at work stand below what their group has told."""
    names = [cell_len(safe_line(name)) for name in (*(f.name for f in findings), *(c.name for c in pending))]
    name_width = min(max(names, default=0), _MOST_NAME) if width >= _WIDE else 0
    rows: list[ListRow] = []
    for group in Group:
        found = [one for one in findings if one.group is group]
        waiting = [one for one in pending if one.group is group]
        if found or waiting:
            rows += [ListRow()] if rows else []
            rows.append(_line(((group.value, STRONG),)))
        for one in found:
            rows += _finding(one, name_width, width, signs, home)
        rows += [_waiting(one, name_width, signs) for one in waiting]
    return rows


def _finding(one: Finding, name_width: int, width: int, signs: Signs, home: str) -> Iterator[ListRow]:
    style, name = _STYLES.get(one.grade, MUTED), safe_line(one.name)
    sign: Parts = ((f"{_sign(one.grade, signs)} ", style),)
    word: Parts = ((one.grade.value, style if one.grade not in _QUIET else MUTED),)
    indent = _SIGN_WIDTH + (name_width + _GAP if name_width else 0)
    room = width - indent - max(len(grade) for grade in Grade) - _GAP if name_width else width - indent
    told = _told(one, max(room, _LEAST), home)
    if name_width:
        padded = set_cell_size(name, name_width) + " " * _GAP
        yield _line((*sign, (padded, ""), *next(told, ())), word)
    else:
        yield _line((*sign, (name, "")), word)
    for parts in told:
        yield _line(((" " * indent, ""), *parts))


def _told(one: Finding, room: int, home: str) -> Iterator[Parts]:
    """Yield the lines of what is so, and of the step where it is needed."""
    for line in _wrapped(without_home(safe_line(one.cause), home), room):
        yield ((line, MUTED if one.grade in _QUIET else ""),)
    if one.next_step and one.grade in STEP_IS_TOLD:
        for number, line in enumerate(
            _wrapped(f"next: {without_home(safe_line(one.next_step), home)}", room)
        ):
            head, _, rest = line.partition(" ") if number == 0 else ("", "", line)
            yield ((f"{head} ", MUTED), (rest, "")) if head else ((rest, ""),)


def _waiting(one: Check, name_width: int, signs: Signs) -> ListRow:
    name = set_cell_size(one.name, name_width) + " " * _GAP if name_width else f"{one.name}  "
    return _line(((f"{signs.off} ", MUTED), (name, ""), (f"looking {signs.cut}", MUTED)))


def _sign(grade: Grade, signs: Signs) -> str:
    shapes = {Grade.OK: signs.ready, Grade.WARNING: signs.degraded, Grade.FAULT: signs.down}
    return shapes.get(grade, signs.off)


def _wrapped(text: str, room: int) -> list[str]:
    return [line.plain.rstrip() for line in content(((text, ""),)).wrap(room)]


def _line(parts: Parts, right: Parts = ()) -> ListRow:
    return ListRow((parts,), right, is_heading=True)


class DoctorScreen(ListDialog[None]):
    """A list to read; `r` looks again, `y` copies the report without names of folders and without keys."""

    AUTO_FOCUS = ""
    TITLE_TEXT = "Doctor"
    HINTS = (("r", "look again"), ("y", "copy the report"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "look_again", show=False),
        Binding("y", "copy_report", show=False),
        Binding("enter", "leave", show=False),
        Binding("home", "scroll_to_end(True)", show=False),
        Binding("end", "scroll_to_end", show=False),
    ]

    def __init__(self, examination: Examination) -> None:
        super().__init__()
        self._examination = examination
        self._examined: list[Examined] = []
        self._is_done = False

    def compose_content(self) -> Iterable[Widget]:
        """Return the list."""
        yield RowList()

    def on_mount(self) -> None:
        """Begin to look."""
        self.call_after_refresh(self.action_look_again)

    def action_look_again(self) -> None:
        """Look at everything anew."""
        _: Worker[None] = self.run_worker(self._look, name="doctor", group="doctor", exclusive=True)

    def action_copy_report(self) -> None:
        """Ask for a copy of what was found so far."""
        findings = in_order(self._examined, self._examination.checks)
        if findings:
            self.post_message(CopyText(report_text(findings, home=self._examination.home)))

    def action_scroll_to_end(self, is_first: bool = False) -> None:
        """Show the last rows, or the first ones."""
        self.list.scroll_to(y=0 if is_first else self.list.max_scroll_y, animate=False)

    async def _look(self) -> None:
        self._examined, self._is_done = [], False
        self.draw()
        async with aclosing(self._examination.run()) as examined:
            async for one in examined:
                self._examined.append(one)
                self.draw()
        self._is_done = True
        self.draw()

    def draw(self) -> None:
        """Show what was found so far."""
        if not self.can_show or self.list.text_width < 1:
            return
        checks = self._examination.checks
        ended = {one.check.check for one in self._examined}
        pending = [check for check in checks if check.check not in ended]
        findings = in_order(self._examined, checks)
        rows = doctor_rows(findings, pending, self.list.text_width, signs_for(self), self._examination.home)
        self.list.show(rows)
        self.fit_list(len(rows))
        figures = summary(findings) if self._is_done else f"{len(ended)} of {len(checks)} looked at"
        self.show_title(figures)
