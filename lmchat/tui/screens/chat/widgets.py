"""Widgets of the chat screen, and the focus among them."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.machine.highlighter import Highlighter
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.line import LineWidget
from lmchat.tui.widgets.prompt import Prompt
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList
from lmchat.tui.widgets.telemetry_panel import TelemetryPanel


class ChatWidgets:
    """The widgets of the chat screen, which `ChatScreen.compose` arranges."""

    def __init__(self, telemetry_sections: Sequence[str]) -> None:
        self.session_list = SessionList()
        self.title_line = LineWidget(id="title")
        self.highlighter = Highlighter()
        self.log = ChatLog(highlighter=self.highlighter, id="log")
        self.prompt = Prompt()
        self.telemetry = TelemetryPanel(telemetry_sections, id="telemetry")
        self.keys_row = KeysRow()

    @property
    def prompt_input(self) -> PromptInput:
        return self.prompt.input

    @property
    def has_log_focus(self) -> bool:
        return self.log.screen.focused is self.log  # `has_focus` follows a message later

    @property
    def has_find_bar_focus(self) -> bool:
        return any(bar.has_focus_within for bar in self.log.screen.query("FindBar"))

    def close_find_bar(self) -> None:
        for bar in self.log.screen.query("FindBar"):
            bar.display = False
        if self.log.finder.is_active:
            self.log.finder.clear()

    def focus_card(self) -> None:
        """Focus the card that asks, unless the user is typing or reading farther up."""
        is_in_prompt = self.log.screen.focused is self.prompt_input
        is_typing = bool(self.prompt_input.text)
        if is_in_prompt and not is_typing and self.log.viewport.is_following:
            self.log.show_message(self.log.calls.card_id)

    def leave_card(self) -> None:
        """Give the focus back to the prompt, and follow the end."""
        self.log.screen.set_focus(self.prompt_input)
        self.log.scroll_end()
