"""The focus in the chat log, and its find bar."""

from __future__ import annotations

from lmchat.tui.screen_services import ScreenServices
from lmchat.tui.widgets.find_bar import FindBar


class LogNavigation:
    """Moves the focus between messages and prompt; opens and closes the find bar."""

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui
        self._log = ui.widgets.log

    def focus_message(self, step: int) -> None:
        """Focus the message below (`step` 1) or above (-1); below the last one is the prompt."""
        if not self._log.focus_message(step):
            self._ui.widgets.prompt_input.focus()

    # Find bar

    @property
    def find_bar(self) -> FindBar | None:
        """The find bar; None until it is first opened."""
        return next(iter(self._ui.screen.query(FindBar)), None)

    async def open_find_bar(self, query: str = "") -> None:
        """Open the find bar with a query, by default the last one."""
        bar = self.find_bar
        if bar is None:
            bar = FindBar(self._log)
            await self._ui.screen.query_one("#chat").mount(bar, before=self._ui.widgets.prompt_area)
        bar.open(query)

    def close_find_bar(self) -> None:
        """Hide the find bar, if there is one, and end the search in the log."""
        if self.find_bar is not None:
            self.find_bar.close()
        else:
            self._log.finder.clear()  # the search in all sessions marks its hit without the bar
