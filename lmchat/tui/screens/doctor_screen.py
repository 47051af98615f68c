"""The doctor's page: every check with verdict, cause and next step, as they end."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.worker import Worker

from lmchat.services.doctor import Examination, Examined, in_order, report_text, summary
from lmchat.tui.icons import signs_for
from lmchat.tui.intents import CopyText
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.screens.doctor_rows import doctor_rows
from lmchat.tui.widgets.row_list import RowList


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
