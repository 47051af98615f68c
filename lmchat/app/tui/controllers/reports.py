"""Dialogs that only report: the next request, stats, the doctor, the tools, the log file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from lmchat.app.tui.controllers.branches import Branches
from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.dialogs.context_dialog import ContextDialog
from lmchat.app.tui.dialogs.report_texts import STATS_DAYS, stats_text
from lmchat.app.tui.dialogs.text_dialog import RequestDialog, TextDialog
from lmchat.app.tui.dialogs.tools_dialog import tools_dialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.metrics import METRICS_RESET
from lmchat.base.safe_text import safe_line, safe_text
from lmchat.core.chat.preview import context_of_next_request
from lmchat.core.sessions.message import now
from lmchat.core.sessions.model_stats import ModelStats
from lmchat.core.sessions.prompts import Prompt

_LEAST_REPORT_WIDTH = 54  # a narrower report of the doctor would have no room behind its names


class Reports:
    """Shows the reports of slash commands, and resets the counters of `/stats`.

    If `auto_compact` will make a summary before the prompt is sent, the next request is shown
    without it.
    """

    def __init__(self, ui: ScreenServices, prompt_text: PromptText, branches: Branches) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._workspace = ui.workspace
        self._prompt_text = prompt_text
        self._branches = branches

    # The next request: with what is typed as its prompt, unless that is an edit or a command

    def open_context(self) -> None:
        self._chat.turn_options.required_target()  # raises before the dialog opens
        dialog = ContextDialog(
            lambda message_id: self._ui.start(partial(self._toggle, dialog, message_id), "exclude")
        )
        self._ui.open_dialog(dialog, self._ui.widgets.log.go_to_message)
        self._start_to_fill(dialog)

    def _start_to_fill(self, dialog: ContextDialog) -> None:
        self._ui.start(partial(self._fill, dialog), "context", is_only=True)

    async def _fill(self, dialog: ContextDialog) -> None:
        prompt = Prompt.of(self._prompt_text.typed_prompt)
        try:
            dialog.show(await context_of_next_request(self._chat, self._chat.active, prompt))
        except LMChatError:
            dialog.dismiss(None)
            raise

    async def _toggle(self, dialog: ContextDialog, message_id: str) -> None:
        await self._branches.toggle_excluded(message_id)
        self._start_to_fill(dialog)

    async def open_request(self, typed_form: str = "") -> None:
        """Show the next request in the typed form, or else as JSON; raises `WrongUse`."""
        form = typed_form.strip().lower()
        if form not in ("", "json", "curl"):
            raise WrongUse(
                f"Unknown form of a request: {safe_line(typed_form, limit=20)}.",
                next_step="The forms are json and curl.",
            )
        session = self._chat.active
        prompt = Prompt.of(self._prompt_text.typed_prompt)
        request = await self._chat.next_request(session, prompt)
        prepared = await self._ui.workspace.backend.prepare(request)
        # tools may have taken long to start: another session, or a dialog, may be shown by now
        if session is self._chat.active and self._ui.screen.is_current:
            self._ui.open_dialog(RequestDialog(prepared, form, self._ui.show_in_pager))

    # lmchat itself

    async def open_stats(self) -> None:
        models: Sequence[ModelStats] = ()
        failure = ""
        try:
            since = now() - timedelta(days=STATS_DAYS)
            models = await self._workspace.stats_store.model_stats(since=since)
        except LMChatError as error:
            failure = f"\n\n{error.message}"
        backend = self._workspace.backend
        metrics = backend.counters.metrics
        limit = backend.rate_limit()
        self._ui.open_dialog(
            TextDialog(
                "Statistics", lambda width: stats_text(metrics, limit, models, width) + failure
            )
        )

    async def reset_metrics(self) -> None:
        """Those of all runs, as `lmchat metrics reset`, and of this run."""
        await self._workspace.stats_store.reset_counters()
        self._workspace.backend.counters.reset()
        self._ui.notify(METRICS_RESET)

    async def open_doctor(self) -> None:
        examination = self._workspace.platform.examine(self._workspace.chat.turn_options.endpoint)
        dialog = TextDialog("Doctor", "Checking servers, keys, files, engine and tools …")
        self._ui.open_dialog(dialog)
        report = await examination
        dialog.show(lambda width: report.text(max(width, _LEAST_REPORT_WIDTH)), report.summary)

    def open_tools(self) -> None:
        self._ui.open_dialog(
            tools_dialog(self._workspace.chat, self._workspace.platform.config_file)
        )

    def open_log_file(self) -> None:
        self._ui.open_dialog(TextDialog("Log file", safe_text(self._workspace.platform.log_file)))
