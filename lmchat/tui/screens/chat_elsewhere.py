"""What another lmchat writes in the session that is shown: the screen looks at it again and again."""

from __future__ import annotations

from contextlib import suppress

from textual.timer import Timer

from lmchat.errors import LMChatError
from lmchat.services.conversation import Conversation
from lmchat.services.open_sessions import news, written_elsewhere
from lmchat.tui.screens.chat_base import ChatBase

LOOK_AGAIN_S = 1.0
"""Between two looks at an answer that another lmchat writes; where there is none, nothing is looked at."""


class ChatElsewhere(ChatBase):
    """Follows the answers that another lmchat writes, as long as they are shown."""

    _looking: Timer | None = None
    """Runs from one look to the next."""

    def show_messages(self, conversation: Conversation) -> None:
        """Show the messages of a session; those that another lmchat writes are looked at again."""
        super().show_messages(conversation)
        self._look_again()

    def _look_again(self) -> None:
        if self._looking is None and written_elsewhere(self.open_sessions.shown.conversation):
            self._looking = self.set_timer(
                LOOK_AGAIN_S, lambda: self.begin_work(self._look_elsewhere, "elsewhere")
            )

    async def _look_elsewhere(self) -> None:
        """Show what has come since the last look; the next one begins when this one has ended."""
        conversation = self.open_sessions.shown.conversation
        try:
            with suppress(LMChatError):  # what cannot be read now can be in a second
                found = await news(conversation, self.workspace.store)
                if found and self.open_sessions.is_shown(conversation):
                    for message in found:
                        self.log_view.replace(message)
                    self.refresh_figures()
        finally:
            self._looking = None
        if not self.is_leaving:
            self._look_again()
