"""Report of the doctor, as on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from textual.containers import VerticalScroll
from textual.worker import Worker

from lmchat.doctor.examination import Examination, report_text, summary
from lmchat.doctor.report import CheckResult
from lmchat.tui.dialogs.text_dialog import TextDialog

_LEAST_COLUMNS = 54  # a narrower report would have no room behind its names


class DoctorScreen(TextDialog):
    """Report of all checks, which grows as they end."""

    def __init__(self, examination: Examination) -> None:
        super().__init__("Doctor")
        self._examination = examination

    def on_mount(self) -> None:
        def begin() -> None:
            _: Worker[None] = self.run_worker(self._examine, name="doctor", group="doctor")

        self.call_after_refresh(begin)  # the report has the width of the dialog

    async def _examine(self) -> None:
        """Run the checks, and show the report so far after each; the title says what was found."""
        examination, found = self._examination, dict[str, Sequence[CheckResult]]()
        total = len(examination.checks)
        self.show("", f"0 of {total} checked")
        async with aclosing(examination.run()) as examined:
            async for check, findings in examined:
                found[check.check] = findings
                results = examination.in_order(found)
                width = self.query_one(VerticalScroll).scrollable_content_region.width
                width = max(width, _LEAST_COLUMNS)
                done = f"{len(found)} of {total} checked"
                self.show(
                    report_text(results, home=examination.home, width=width),
                    done if len(found) < total else summary(results),
                )
