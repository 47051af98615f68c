"""The chat log apart from its messages: focus, find bar, running tool calls and their card.

The card of a call asks whether the call may run. It is a part of the log, and gets its keys from
there. Calls are here since their card takes the focus from the prompt and gives it back.
"""

from __future__ import annotations

from lmchat.tui.screen_services import ScreenServices
from lmchat.tui.widgets.find_bar import FindBar


class LogNavigation:
    """Moves the focus between log, card and prompt; opens the find bar; shows tool calls."""

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

    # Tool calls, and the card of the one that asks

    def show_calls(self) -> None:
        """Show the running tool calls of the shown session, and the card of the one that asks.

        `Dispatcher` calls this with each `ShowChanges`: calls also change without an event, such as
        their times, and whether the card is seen. Below a dialog, the card takes no keys.
        """
        workspace = self._ui.workspace
        shown = workspace.chat.shown
        self._log.calls.set_states(
            shown.running_calls,
            asked_id=shown.question.message.message_id if shown.question else "",
            now_s=workspace.clock(),
            is_on_top=self._ui.app.screen is self._ui.screen,
        )

    def focus_card(self) -> None:
        """Show the card that asks about a tool call, if there is one, and focus it.

        The focus moves only from an empty prompt, and only while the log follows the answer.
        Otherwise the user is typing, or reading farther up.
        """
        self.show_calls()
        prompt_input = self._ui.widgets.prompt_input
        is_in_prompt = self._ui.screen.focused is prompt_input
        if is_in_prompt and not prompt_input.text and self._log.viewport.is_following:
            # without a card, its id is empty, and this does nothing
            self._log.go_to_message(self._log.calls.card_id)

    def leave_card(self) -> None:
        """Focus the prompt after the decision on a tool call, or the end of its turn.

        To focus a card with other calls below it ends the following of the end. If the log followed
        the end before, it does so again; if the user has scrolled, the log stays where it is.
        """
        self._ui.screen.set_focus(self._ui.widgets.prompt_input)
        if self._log.calls.was_following:
            self._log.scroll_end()
