"""Dialogs about lmchat itself: statistics, the doctor, the tools, the log file."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from lmchat.doctor.report import report_text, summary
from lmchat.errors import LMChatError
from lmchat.metrics import METRICS_RESET
from lmchat.safe_text import safe_text
from lmchat.sessions.message import now
from lmchat.sessions.statistics import figures_by_model
from lmchat.tui.dialogs.report_texts import RECORD_DAYS, models_text, statistics_text
from lmchat.tui.dialogs.text_dialog import TextDialog
from lmchat.tui.dialogs.tools_dialog import tools_dialog
from lmchat.tui.screen_services import ScreenServices

_LEAST_REPORT_WIDTH = 54  # a narrower report of the doctor would have no room behind its names


class Reports:
    """Shows the reports of slash commands, and resets the counters of `/stats`."""

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui
        self._workspace = ui.workspace

    async def open_statistics(self) -> None:
        """Show the requests of this run, and what each model did in the last `RECORD_DAYS` days."""
        try:
            since = now() - timedelta(days=RECORD_DAYS)
            rows = await self._workspace.store.statistics.answer_records(since=since)
        except LMChatError as error:
            models = error.message  # in place of the figures of models
        else:
            models = models_text(figures_by_model(rows))
        backend = self._workspace.backend
        text = statistics_text(backend.metrics(), backend.budget(), models)
        self._ui.open_dialog(TextDialog("Statistics", text))

    async def reset_metrics(self) -> None:
        """Set the counters to 0: those of all runs, as `lmchat metrics reset`, and of this run."""
        await self._workspace.store.statistics.reset_counters()
        self._workspace.backend.reset_metrics()
        self._ui.notify(METRICS_RESET)

    def open_doctor(self) -> None:
        """Run all checks in a worker, and show the report, as on the command line."""
        dialog = TextDialog("Doctor", "Checking servers, keys, files, engine and tools …")
        self._ui.open_dialog(dialog)
        self._ui.begin(partial(self._examine, dialog), "doctor", is_only=True)

    async def _examine(self, dialog: TextDialog) -> None:
        """Run the checks, and show their report in the dialog, which is open already."""
        findings = await self._workspace.platform.examine()
        width = max(dialog.text_width, _LEAST_REPORT_WIDTH)
        text = report_text(findings, width=width)
        dialog.show(text, summary(findings))

    def open_tools(self) -> None:
        self._ui.open_dialog(
            tools_dialog(self._workspace.chat, self._workspace.platform.config_file)
        )

    def open_log_file(self) -> None:
        self._ui.open_dialog(TextDialog("Log file", safe_text(self._workspace.platform.log_file)))
