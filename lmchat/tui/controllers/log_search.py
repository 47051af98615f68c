"""The search in the chat log, as it begins and ends with the find bar."""

from __future__ import annotations

from lmchat.tui.screen_services import ScreenServices
from lmchat.tui.widgets.find_bar import FindBar


class LogSearch:
    """Opens and closes the find bar, which searches the log itself."""

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui
        self._log = ui.widgets.log

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
