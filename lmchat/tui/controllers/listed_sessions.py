"""The list of sessions: read from the disk, and painted with what is only in memory."""

from __future__ import annotations

from lmchat.errors import LMChatError
from lmchat.sessions.session import SessionGroup, with_unsaved
from lmchat.tui.screen_services import ScreenServices


class ListedSessions:
    """Fills the list; `SessionActions` runs its keys, `ShownSession` opens what is chosen there.

    Controllers do not call `refresh`: like that of `StatusDisplay`, it runs with each
    `ShowChanges`. It reads the list again only if something that the list shows may have changed.
    This is a row of a session on the disk, or which sessions are shown, running, unread, asking,
    unsaved or only queued. Changes by another lmchat are not noticed; for these, the message
    `ReadSessions` is posted.
    """

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui
        self._groups: tuple[SessionGroup, ...] = ()  # as they were read last
        self._last_state: object = None  # what the list depended on when it was read last

    def refresh(self) -> None:
        """Read the list in a worker if what it shows may have changed since it was read last."""
        workspace = self._ui.workspace
        in_memory = workspace.chat.in_memory
        state = (
            workspace.store.database.session_changes,
            workspace.store.notice,  # about a damaged file that was replaced
            in_memory.shown.session_id,
            in_memory.running_ids,
            frozenset(in_memory.unread),
            in_memory.asking_ids,
            in_memory.unsaved(),
            in_memory.only_queued(),
        )
        if state != self._last_state:
            self._last_state = state
            self.reload()

    def reload(self) -> None:
        """Read the list in a worker; one that is still reading it is cancelled."""
        self._ui.begin(self._load, "library", is_only=True)

    async def _load(self) -> None:
        """Read the saved sessions, and show them with those that are not on the disk.

        A session that is not on the disk has messages that wait to be written, or only a queued
        prompt. If the saved sessions cannot be read, show them as they were read last, and a
        warning in the panel.
        """
        workspace = self._ui.workspace
        try:
            self._groups = await workspace.library.groups()
            self._ui.set_warning("sessions", "")
        except LMChatError as error:
            self._ui.set_warning("sessions", error.message_with_hint)
        in_memory = workspace.chat.in_memory
        self._ui.widgets.session_list.show(
            with_unsaved(self._groups, [*in_memory.unsaved(), *in_memory.only_queued()]),
            open_id=in_memory.shown.session_id,
            streaming=in_memory.running_ids,
            unread=in_memory.unread,
            with_question=in_memory.asking_ids,
        )
