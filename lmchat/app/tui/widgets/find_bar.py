"""Find bar: an input for the words to find in the log, and the number of the current hit."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widgets import Input

from lmchat.app.tui.chat_log.chat_log import ChatLog
from lmchat.app.tui.widgets.field import Field
from lmchat.base.units import counted


class FindBar(Horizontal):
    """Find bar, hidden until it is opened; Tab leaves it for the message of the hit."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "close"),
        ("shift+enter,up", "step(-1)"),
        ("down", "step(1)"),
        ("tab", "read"),
    ]

    _field = query_one(Field)

    def __init__(self, log: ChatLog) -> None:
        super().__init__()
        self.display = False
        self._log = log

    async def open(self, query: str = "") -> None:
        """Show and focus the bar, and search for the query, or again for the last one.

        The last one is selected, so that typing replaces it.
        """
        if not self.children:  # it would take 1 % of a start
            await self.mount(Field(placeholder="Find in this session"))
        self.display = True
        if query:
            with self.prevent(Input.Changed):  # an equal query would not start a search
                self._field.input.value = query
            self._log.finder.seek(query)
        elif self._field.value:
            self._log.finder.find(self._field.value)  # unlike `seek`, this scrolls nothing
            self._field.input.select_all()
        self.show_number()
        self.screen.set_focus(self._field.input)  # at once: the next key must reach it

    def show_number(self) -> None:
        if not self.display:
            return
        number, count = self._log.finder.number_and_count  # `number` is 0 without a current hit
        if not self._field.value:  # the log may have hits of the dialog that searches all sessions
            text = ""
        elif number:
            text = f"{number}/{count}"
        else:
            text = counted(count, "hit") if count else "no hits"
        self._field.show_note(text)

    def close(self) -> None:
        """Hide the bar, and end the search, also one without the bar."""
        self.display = False
        self._log.finder.clear()

    async def action_close(self) -> None:
        self.close()
        await self.run_action("screen.focus_prompt")

    def action_step(self, by: int) -> None:
        self._log.finder.step(by)

    def action_read(self) -> None:
        self._log.focus_hit()

    @on(Input.Changed)
    def seek(self, event: Input.Changed) -> None:
        event.stop()
        if event.value == event.input.value:  # else more was typed, and its event follows
            self._log.finder.seek(event.value)

    @on(Input.Submitted)
    def step(self, event: Input.Submitted) -> None:
        event.stop()
        self._log.finder.step(1)
