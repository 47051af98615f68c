"""Report of the doctor, as on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.worker import Worker

from lmchat.doctor.examination import Examination, report_text, summary
from lmchat.doctor.report import CheckResult
from lmchat.tui.dialogs.text_dialog import TextDialog

_LEAST_COLUMNS = 54  # a narrower report would have no room behind its names


class DoctorScreen(TextDialog):
    """Report of all checks, which grows as they end; `r` repeats them, `y` copies it."""

    HINTS = (("r", "check again"), ("y", "copy the report"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [("r", "look_again")]

    def __init__(self, examination: Examination) -> None:
        super().__init__("Doctor")
        self._examination = examination
        self._found: dict[str, Sequence[CheckResult]] = {}  # of the checks that have ended, by name

    def on_mount(self) -> None:
        self.call_after_refresh(self.action_look_again)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_look_again(self) -> None:
        async def look() -> None:
            self._found = {}
            self._draw()
            async with aclosing(self._examination.run()) as examined:
                async for check, findings in examined:
                    self._found[check.check] = findings
                    self._draw()

        _: Worker[None] = self.run_worker(look, name="doctor", group="doctor", exclusive=True)

    def _draw(self) -> None:
        """Show the report for the current width; the title says what was found so far."""
        if not self.can_show:
            return
        findings = self._examination.in_order(self._found)
        width = self.query_one(VerticalScroll).scrollable_content_region.width
        text = report_text(findings, home=self._examination.home, width=max(width, _LEAST_COLUMNS))
        done, total = len(self._found), len(self._examination.checks)
        self.show(text, f"{done} of {total} checked" if done < total else summary(findings))
