"""Dialog with the progress of work, which Esc stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from textual.widgets import Static

from lmchat.app.tui.dialogs.dialog import Dialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.line import styled

_T = TypeVar("_T")


class ProgressDialog(Dialog):
    """Progress of work; Esc closes the dialog, and `with_progress` then stops the work."""

    LEAVE = "stop"

    def show_progress(self, text: str) -> None:
        self.text = text
        for words in self.query(Static):  # none before it is open
            words.update(styled(text))


async def with_progress(
    ui: ScreenServices,
    title: str,
    work: Callable[[Callable[[str], None]], Coroutine[Any, Any, _T]],
) -> _T | None:
    """Run work and return its result, or None if Esc stops it.

    The work gets a function that shows a text in a dialog, which opens with the first one: short
    work has none.
    """
    dialog = ProgressDialog(title, is_small=True)

    def stop(_: object) -> None:
        """Esc stops the work; if it has ended, cancelling has no effect."""
        task.cancel()

    def report(text: str) -> None:
        if not dialog.is_attached:
            ui.app.push_screen(dialog, stop)
        dialog.show_progress(text)

    task = asyncio.ensure_future(work(report))
    try:
        await asyncio.wait([task])  # does not raise if Esc cancels the task
    finally:
        task.cancel()  # only if this function was cancelled itself
        if dialog.is_attached:
            dialog.dismiss()
    return None if task.cancelled() else task.result()
