"""The context of the next request: its dialog, and messages that are taken out of requests."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial

from lmchat.errors import LMChatError
from lmchat.tui.chat_view import ChatCore, open_screens
from lmchat.tui.controllers.branches import Branches
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.shown_session import ShownSession


class ContextView:
    """Shows what the next request holds, and does what the keys of the dialog ask for."""

    def __init__(
        self, core: ChatCore, sessions: ShownSession, prompt_text: PromptText, branches: Branches
    ) -> None:
        self._screen = core.screen
        self._backend = core.workspace.backend
        self._open_sessions = core.open_sessions
        self._read_ahead = core.read_ahead
        self._widgets = core.widgets
        self._notices = core.notices
        self._background = core.background
        self._sessions = sessions
        self._prompt_text = prompt_text
        self._branches = branches

    def show(self) -> None:
        """Open the dialog, and fill it in a worker; without a model, say why nothing is sent."""
        from lmchat.tui.dialogs.context_dialog import ContextDialog

        try:
            self._open_sessions.next_turn.options.required_target()
        except LMChatError as error:
            self._notices.show_error(error)
            return
        self._notices.show(ContextDialog(self._toggle), self._go_to)
        self._refresh()

    def _refresh(self) -> None:
        self._background.begin(self._fill, "context")

    async def _fill(self) -> None:
        """Show the list in the dialog, first with estimates; close the dialog after an error."""
        from lmchat.services.context_list import context_lists

        text, files = self._open_sessions.files.split(self._prompt_text.new_prompt)
        lists = context_lists(
            self._sessions.conversation,
            self._open_sessions.next_turn,
            self._backend,
            text,
            files,
            cached_count=self._read_ahead.cached_count,
        )
        try:
            async with aclosing(lists) as contents:
                async for content in contents:
                    for dialog in open_screens(self._screen.app, "ContextDialog"):
                        dialog.show(content)
        except LMChatError as error:
            for dialog in open_screens(self._screen.app, "ContextDialog"):
                dialog.dismiss(None)
            self._notices.show_error(error)

    def _toggle(self, message_id: str) -> None:
        self._background.attempt(partial(self._toggle_excluded, message_id), group="exclude")

    async def _toggle_excluded(self, message_id: str) -> None:
        """Take a message out of requests or put it back; then show the list again."""
        await self._branches.toggle_excluded(message_id)
        self._refresh()

    def _go_to(self, message_id: str | None) -> None:
        if message_id:
            self._widgets.log.show_message(message_id)
