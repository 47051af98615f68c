"""The list of sessions: read from the disk, and painted with what is only in memory."""

from __future__ import annotations

from lmchat.errors import LMChatError
from lmchat.sessions.session import SessionGroup, with_unsaved
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.screen_services import ScreenServices


class ListedSessions:
    """Fills the list; `SessionActions` runs its keys, `ShownSession` opens what is chosen there."""

    def __init__(self, ui: ScreenServices, status: StatusDisplay) -> None:
        self._ui = ui
        self._status = status
        self._groups: tuple[SessionGroup, ...] = ()  # as they were read last

    def refresh(self) -> None:
        """Call `load` in a worker."""
        self._ui.begin(self.load, "library", is_only=True)

    async def load(self) -> None:
        """Read the saved sessions, and show them with those that are not on the disk.

        Those are sessions whose messages wait to be written, or with only a queued prompt. If the
        saved ones cannot be read, show them as they were read last, and a warning in the panel.
        """
        try:
            self._groups = await self._ui.workspace.library.groups()
            self._status.show_list_warning("")
        except LMChatError as error:
            self._status.show_list_warning(error.message_with_hint)
        chat = self._ui.workspace.chat
        in_memory = chat.in_memory
        self._ui.widgets.session_list.show(
            with_unsaved(self._groups, [*in_memory.unsaved(), *in_memory.only_queued()]),
            open_id=chat.shown.session_id,
            streaming=in_memory.running_ids,
            unread=in_memory.unread,
            with_question=in_memory.asking_ids,
        )
