"""Textual's command palette, which is asked to leave twice where one clicks or presses Enter twice."""

from __future__ import annotations

from contextlib import suppress

from textual import events
from textual.await_complete import AwaitComplete
from textual.command import CommandList, CommandPalette
from textual.message import Message
from textual.widgets import Button, Input, OptionList

_CHOOSING = (events.Click, Input.Submitted, Button.Pressed, OptionList.OptionSelected)


class _Rows(CommandList):
    """Takes no click on a row that has gone since it was shown; Textual's own would fail."""

    def _on_click(self, event: events.Click) -> None:  # type: ignore[override]  # Textual's own is a coroutine
        place = event.style.meta.get("option")
        if place is not None and place >= self.option_count:
            event.prevent_default()


class Palette(CommandPalette):
    """Leaves once, and runs one command.

    Textual 8.2.8 closes the screen below with a second click, which ends the app where that is its only one,
    and runs the command again with a second Enter.
    """

    _has_left = False
    _is_early = False

    def dismiss(self, result: object = None) -> AwaitComplete:
        """Leave, as soon as it is all there; a second call does nothing."""
        if self._has_left or not self.is_active:
            return AwaitComplete()
        if not self.is_mounted:
            self._is_early = True
            return AwaitComplete()
        self._has_left = True
        return super().dismiss(result)  # type: ignore[arg-type]  # whatever Textual's own has for one

    def on_mount(self) -> None:
        """Let its list take clicks on rows that are there."""
        self.query_one(CommandList).__class__ = _Rows
        if self._is_early:
            self.call_later(self._leave)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Do nothing but leave before its list is there and after it has left; Textual's own would fail."""
        if not self.is_mounted or self._has_left:
            return action == "escape"
        return super().check_action(action, parameters)

    def _leave(self) -> None:
        self.dismiss()  # not returned: its own handlers must not wait for it

    async def _on_message(self, message: Message) -> None:
        """Take nothing that was clicked or entered after it has left."""
        if not (self._has_left and isinstance(message, _CHOOSING)):
            await super()._on_message(message)

    def _action_command_list(self, action: str) -> None:
        """Move in the list; it fails over a page where it has no room, or has not measured its rows yet."""
        with suppress(KeyError, IndexError):
            super()._action_command_list(action)
