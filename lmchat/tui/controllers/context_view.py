"""The context of the next request: its dialog, and messages that are taken out of requests."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial

from lmchat.errors import LMChatError
from lmchat.services.context_list import context_lists
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.branches import Branches
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.shown_session import ShownSession
from lmchat.tui.dialogs.context_dialog import ContextDialog


class ContextView:
    """Shows what the next request holds, and does what the keys of the dialog ask for."""

    def __init__(
        self, chat: Chat, sessions: ShownSession, prompt_text: PromptText, branches: Branches
    ) -> None:
        self._chat = chat
        self._sessions = sessions
        self._prompt_text = prompt_text
        self._branches = branches
        self._dialog: ContextDialog | None = None  # while it is open

    def show(self) -> None:
        """Open the dialog, and fill it in a worker; without a model, say why nothing is sent."""
        try:
            self._chat.open_sessions.next_turn.options.required_target()
        except LMChatError as error:
            self._chat.show_error(error)
            return
        self._dialog = ContextDialog(self._toggle)
        self._chat.show(self._dialog, self._go_to)
        self._refresh()

    def _refresh(self) -> None:
        self._chat.begin(self._fill, "context", is_only=True)

    async def _fill(self) -> None:
        """Show the list in the dialog, first with estimates; close the dialog after an error."""
        text, files = self._chat.open_sessions.files.split(self._prompt_text.new_prompt)
        lists = context_lists(
            self._sessions.conversation,
            self._chat.open_sessions.next_turn,
            self._chat.workspace.backend,
            text,
            files,
            cached_count=self._chat.read_ahead.cached_count,
        )
        try:
            async with aclosing(lists) as contents:
                async for content in contents:
                    if self._dialog is not None:
                        self._dialog.show(content)
        except LMChatError as error:
            if self._dialog is not None:
                self._dialog.dismiss(None)
            self._chat.show_error(error)

    def _toggle(self, message_id: str) -> None:
        self._chat.begin(partial(self._toggle_excluded, message_id), "exclude")

    async def _toggle_excluded(self, message_id: str) -> None:
        """Take a message out of requests or put it back; then show the list again."""
        await self._branches.toggle_excluded(message_id)
        self._refresh()

    def _go_to(self, message_id: str | None) -> None:
        self._dialog = None
        if message_id:
            self._chat.widgets.log.show_message(message_id)
