"""Which sessions are in memory, and which of them is shown."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from msgspec.structs import replace

from lmchat.chat.save_queue import SaveQueue
from lmchat.chat.session import Hold, OnPendingChange, OpenSession
from lmchat.sessions.attached_files import split_draft
from lmchat.sessions.message import ChatMessage, new_id, now
from lmchat.sessions.session import MESSAGES_PER_READ, Session, SessionHeader, title_of
from lmchat.storage.store import Store


class SessionsInMemory:
    """The shown session, and others that are not wholly on the disk yet.

    The others have a running turn, prompts in the queue, unsaved messages, or first words for the
    next answer.
    """

    def __init__(
        self,
        store: Store,
        save_queue: SaveQueue,
        *,
        on_pending_change: OnPendingChange,
    ) -> None:
        """Begin with a new session."""
        self.unread: set[str] = set()  # ids of sessions whose turn ended while another was shown
        self._store = store
        self._save_queue = save_queue
        self._make = partial(
            OpenSession, save_queue=save_queue, on_pending_change=on_pending_change
        )
        self._sessions: dict[str, OpenSession] = {}  # by their ids; the shown one is among them
        self.new_session = self._make_new()
        """The session that `switch_to_new` shows, and replaces by another one once it has begun."""
        self.shown = self.switch_to(self.new_session)  # `switch_to` sets it too; this declares it

    @property
    def all(self) -> tuple[OpenSession, ...]:
        return tuple(self._sessions.values())

    def switch_to_new(self) -> OpenSession:
        """Make the new session the shown one, and return it.

        It stays the same session until its first prompt.
        """
        if self.new_session.has_begun:
            self.new_session = self._make_new()
        return self.switch_to(self.new_session)

    def _make_new(self) -> OpenSession:
        """Return an empty session with an id of its own; the disk has it from its first prompt."""
        moment = now()
        header = SessionHeader(session_id=new_id(), title="", created_at=moment, updated_at=moment)
        return self._make(Session(header=header))

    async def find_or_load(self, session_id: str) -> OpenSession:
        """Return the session of an id; `switch_to` then shows it.

        If the session in memory has something that is not on the disk, it is returned. Otherwise
        it is read from the disk, where another lmchat may have changed it.
        """
        if (opened := self._kept_in_memory(session_id)) is not None:
            return opened
        session = await self._store.open_session(session_id, count=MESSAGES_PER_READ)
        # look again: a turn may have begun during the read
        return self._kept_in_memory(session_id) or self._make(session)

    def changing_path(self, session_id: str) -> AbstractContextManager[None]:
        """Return a block in which no turn begins, as it changes a path on the disk.

        Raises `RequestInvalid` if another branch cannot be shown now, because a turn or a change
        may replace the end of the path. A session that is not in memory is free.
        """
        opened = self._sessions.get(session_id)
        if opened is None:
            return nullcontext()
        opened.require_free_end()
        return opened.changing()

    async def choose_path(self, session_id: str, message_id: str) -> Session:
        """Choose the newest path through a message of a session, and return it.

        The caller shows the path. Raises `RequestInvalid` while a turn may add messages to the path
        that is chosen now.
        """
        with self.changing_path(session_id):
            return await self._store.choose_path_through(session_id, message_id)

    async def delete(self, opened: OpenSession, message_id: str) -> Session:
        """Hide a message of a session and all below it; return the session with the path to show.

        Raises `RequestInvalid` while a turn runs.
        """
        opened.require_idle()
        with opened.changing():
            return await self._store.delete_message(opened.session_id, message_id)

    async def undo_delete(self, session_id: str) -> Session | None:
        """Restore what was deleted last in a session, and return the session with the path to it.

        Return None if nothing was deleted. Raises `RequestInvalid` as `choose_path` does.
        """
        with self.changing_path(session_id):
            deleted_id = await self._store.last_deleted_id(session_id)
            if deleted_id is None:
                return None
            return await self._store.restore_message(session_id, deleted_id)

    def switch_to_path(self, session: Session) -> OpenSession:
        """Make a session the shown one, with a path that was read from the disk; return it.

        If the session is in memory, its messages are replaced by this path.
        """
        opened = self._sessions.get(session.header.session_id)
        if opened is None:
            opened = self._make(session)
        else:
            opened.show_path(session)
        return self.switch_to(opened)

    def switch_to(self, opened: OpenSession) -> OpenSession:
        """Make a session the shown one; drop the others that can be read from the disk again."""
        self.shown = opened
        self._sessions = {
            session_id: other
            for session_id, other in self._sessions.items()
            if self._kept_in_memory(session_id) is not None
        }
        self._sessions[opened.session_id] = opened
        self.unread.discard(opened.session_id)
        return opened

    def leave_purged(self, opened: OpenSession, messages: Sequence[ChatMessage]) -> None:
        """Let a session that was deleted permanently go on as a new one, with these messages."""
        del self._sessions[opened.session_id]
        self.unread.discard(opened.session_id)
        opened.leave_purged(messages)
        self._sessions[opened.session_id] = opened

    def mark_unread(self, opened: OpenSession) -> None:
        """Mark a session whose turn has ended as unread, unless it is shown."""
        if opened is not self.shown:
            self.unread.add(opened.session_id)

    def _kept_in_memory(self, session_id: str) -> OpenSession | None:
        """Return the session of an id if it must stay in memory, as the disk lacks a part of it."""
        opened = self._sessions.get(session_id)
        return opened if opened is not None and opened.is_ahead_of_disk else None

    @property
    def running_ids(self) -> frozenset[str]:
        """The ids of the sessions in which a turn runs."""
        return frozenset(opened.session_id for opened in self.running)

    @property
    def asking_ids(self) -> frozenset[str]:
        """The ids of the other sessions in which a tool call waits for the user."""
        others = [opened for opened in self.all if opened is not self.shown]
        return frozenset(opened.session_id for opened in others if opened.question is not None)

    @property
    def waiting(self) -> tuple[OpenSession, ...]:
        """The sessions with prompts that wait for a server or a model."""
        return tuple(opened for opened in self.all if opened.is_waiting)

    @property
    def running(self) -> tuple[OpenSession, ...]:
        return tuple(opened for opened in self.all if opened.is_running)

    def with_hold(self, hold: Hold) -> OpenSession | None:
        """Return the session in whose queue a prompt has this hold; None if it waits no more."""
        return next((opened for opened in self.all if hold in opened.held), None)

    def find(self, session_id: str) -> OpenSession | None:
        """Return the session of an id if it is in memory."""
        return self._sessions.get(session_id)

    def update_header(self, changed: SessionHeader) -> None:
        """Change the header as it was changed on the disk, if the session is in memory.

        An export writes the header in memory, so it would lack the change otherwise. A session that
        the disk does not have yet gets its title only here; the first prompt saves it.
        """
        opened = self._sessions.get(changed.session_id)
        if opened is not None:
            opened.update_header(changed)

    async def write_unsaved(self) -> None:
        """Try to write the messages that the disk has refused."""
        for opened in self.all:
            is_first_try = opened.turn is not None and opened.turn.pending
            if self._save_queue.is_unsaved(opened.session_id) and not is_first_try:
                await self._save_queue.write_unsaved()
                return

    def unsaved(self) -> list[SessionHeader]:
        """Return the headers of the sessions with messages that are not on the disk.

        They are for the list of sessions, as the list that is read from the disk may lack them.
        """
        headers = [opened.header for opened in self.all]
        return [header for header in headers if self._save_queue.is_unsaved(header.session_id)]

    def only_queued(self) -> list[SessionHeader]:
        """Return headers for the other sessions that have prompts in the queue and no message.

        They are for the list of sessions, as the disk does not have these sessions yet. The first
        queued prompt gives the title, as when it is sent, unless the user has given one.
        """
        headers: list[SessionHeader] = []
        for opened in self.waiting:
            if opened is not self.shown and not opened.messages:
                title = opened.header.title or title_of(*split_draft(opened.queue[0]))
                headers.append(replace(opened.header, title=title))
        return headers
