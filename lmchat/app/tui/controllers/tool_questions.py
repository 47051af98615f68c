"""Questions about tool servers to the user, as dialogs."""

from __future__ import annotations

import asyncio
from typing import Any

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.core.tools.questions import ServerQuestion


async def ask_about_server(ui: ScreenServices, question: ServerQuestion) -> bool:
    """Show a question; Esc says no."""
    ui.notify_if_unfocused("A tool waits for you.")
    text = "\n\n".join(question.rows)
    verb = "open it in the browser" if question.url else "yes"
    if not await _shown(
        ui, ConfirmDialog(question.title, text=text, verb=verb, key=ui.unasked_key)
    ):
        return False
    if question.url and not await ui.workspace.platform.open_in_browser(question.url):
        ui.copy(question.url, "No browser is available; address")
    return True


async def _shown(ui: ScreenServices, dialog: ConfirmDialog) -> Any:
    """Show a dialog from any task; its result is None after Esc. Cancelling closes it."""
    result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def leave(given: Any) -> None:
        if not result.done():
            result.set_result(given)

    ui.app.push_screen(dialog, leave)
    try:
        return await result
    except asyncio.CancelledError:
        dialog.dismiss(None)
        raise
