"""Report of the doctor, as on the command line."""

from __future__ import annotations

from textual.containers import VerticalScroll
from textual.worker import Worker

from lmchat.doctor.report import Examination, report_text, summary
from lmchat.tui.dialogs.text_dialog import TextDialog

_LEAST_COLUMNS = 54  # a narrower report would have no room behind its names


class DoctorScreen(TextDialog):
    """Report of all checks."""

    def __init__(self, examination: Examination) -> None:
        super().__init__("Doctor", "Checking servers, keys, files, engine and tools …")
        self._examination = examination

    def on_mount(self) -> None:
        _: Worker[None] = self.run_worker(self._examine, name="doctor", group="doctor")

    async def _examine(self) -> None:
        """Run the checks and show the report; the title says what was found."""
        findings = await self._examination.run()
        width = self.query_one(VerticalScroll).scrollable_content_region.width
        width = max(width, _LEAST_COLUMNS)
        text = report_text(findings, home=self._examination.home, width=width)
        self.show(text, summary(findings))
