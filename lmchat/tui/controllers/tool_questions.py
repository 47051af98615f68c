"""Questions about tool servers to the user, as dialogs."""

from __future__ import annotations

import asyncio
from typing import Any

from lmchat.tools.questions import ServerQuestion, address_lines
from lmchat.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.tui.screen_services import ScreenServices


class ToolQuestions:
    """Shows the questions about tool servers; Esc says no."""

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui
        toolbox = ui.workspace.chat.turn_options.toolbox
        if toolbox is not None:
            toolbox.host.ask_user = self._ask

    async def _ask(self, question: ServerQuestion) -> bool:
        self._ui.notify_if_unfocused("A tool waits for you.")
        text, verb = question.text, "yes"
        if question.url:
            text = "\n\n".join((text, *address_lines(question.url)))
            verb = "open it in the browser"
        if not await self._show(ConfirmDialog(question.title, text=text, verb=verb, key="y")):
            return False
        platform = self._ui.workspace.platform
        if question.url and not await platform.open_in_browser(question.url):
            self._ui.copy(question.url, "No browser is available; address")
        return True

    async def _show(self, dialog: ConfirmDialog) -> Any:
        """Show a dialog from any task; its result is None after Esc. Cancelling closes it."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def leave(given: Any) -> None:
            if not result.done():
                result.set_result(given)

        self._ui.open_dialog(dialog, leave)
        try:
            return await result
        except asyncio.CancelledError:
            dialog.dismiss(None)
            raise
