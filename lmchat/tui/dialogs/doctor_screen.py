"""Report of the doctor, as on the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.containers import VerticalScroll
from textual.worker import Worker

from lmchat.doctor.report import CheckResult, report_text, summary
from lmchat.tui.dialogs.text_dialog import TextDialog

_LEAST_COLUMNS = 54  # a narrower report would have no room behind its names


class DoctorScreen(TextDialog):
    """Report of all checks."""

    def __init__(self, examine: Callable[[], Awaitable[list[CheckResult]]]) -> None:
        super().__init__("Doctor", "Checking servers, keys, files, engine and tools …")
        self._examine = examine

    def on_mount(self) -> None:
        _: Worker[None] = self.run_worker(self._show_report(), name="doctor", group="doctor")

    async def _show_report(self) -> None:
        """Run the checks and show the report; the title says what was found."""
        findings = await self._examine()
        width = self.query_one(VerticalScroll).scrollable_content_region.width
        width = max(width, _LEAST_COLUMNS)
        self.show(report_text(findings, width=width), summary(findings))
