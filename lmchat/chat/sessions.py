"""Sessions in memory, one of which is shown."""

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
    """The shown session, and others of which the disk lacks a part (`is_ahead_of_disk`)."""

    def __init__(
        self,
        store: Store,
        save_queue: SaveQueue,
        *,
        on_pending_change: OnPendingChange,
    ) -> None:
        self.unread: set[str] = set()  # ids; the turn ended while another was shown
        self._store = store
        self._save_queue = save_queue
        self._make = partial(
            OpenSession, save_queue=save_queue, on_pending_change=on_pending_change
        )
        self._sessions: dict[str, OpenSession] = {}  # by id; with the shown one
        self.new_session = self._make_new()
        """`switch_to_new` shows it, and replaces it once it has begun."""
        self.shown = self.switch_to(self.new_session)  # `switch_to` sets it

    @property
    def all(self) -> tuple[OpenSession, ...]:
        return tuple(self._sessions.values())

    def switch_to_new(self) -> OpenSession:
        if self.new_session.has_begun:
            self.new_session = self._make_new()
        return self.switch_to(self.new_session)

    def _make_new(self) -> OpenSession:
        """The disk has the session from its first prompt."""
        moment = now()
        header = SessionHeader(session_id=new_id(), title="", created_at=moment, updated_at=moment)
        return self._make(Session(header=header))

    async def find_or_load(self, session_id: str) -> OpenSession:
        """Return the session from memory if the disk lacks a part of it, else from the disk.

        There, another lmchat may have changed it. `switch_to` then shows it.
        """
        if (opened := self._kept_in_memory(session_id)) is not None:
            return opened
        session = await self._store.open_session(session_id, count=MESSAGES_PER_READ)
        # look again: a turn may have begun during the read
        return self._kept_in_memory(session_id) or self._make(session)

    def changing_path(self, session_id: str) -> AbstractContextManager[None]:
        """Let no turn begin while the block changes a path on the disk.

        Raises `RequestInvalid` as `require_free_end` does. A session not in memory is free.
        """
        opened = self._sessions.get(session_id)
        if opened is None:
            return nullcontext()
        opened.require_free_end()
        return opened.changing()

    async def choose_path(self, session_id: str, message_id: str) -> Session:
        """Choose the newest path through a message; the caller shows it.

        Raises as `changing_path` does.
        """
        with self.changing_path(session_id):
            return await self._store.choose_path_through(session_id, message_id)

    async def delete(self, opened: OpenSession, message_id: str) -> Session:
        """Hide a message and all below it; return the path to show.

        Raises as `require_idle` does.
        """
        opened.require_idle()
        with opened.changing():
            return await self._store.delete_message(opened.session_id, message_id)

    async def undo_delete(self, session_id: str) -> Session | None:
        """Restore what was deleted last; None if nothing was.

        Raises as `changing_path` does.
        """
        with self.changing_path(session_id):
            deleted_id = await self._store.last_deleted_id(session_id)
            if deleted_id is None:
                return None
            return await self._store.restore_message(session_id, deleted_id)

    def switch_to_path(self, session: Session) -> OpenSession:
        """Show a path that was read from the disk, in place of the one in memory."""
        opened = self._sessions.get(session.header.session_id)
        if opened is None:
            opened = self._make(session)
        else:
            opened.show_path(session)
        return self.switch_to(opened)

    def switch_to(self, opened: OpenSession) -> OpenSession:
        """Show a session; drop the others that can be read from the disk again."""
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
        del self._sessions[opened.session_id]
        self.unread.discard(opened.session_id)
        opened.leave_purged(messages)
        self._sessions[opened.session_id] = opened

    def mark_unread(self, opened: OpenSession) -> None:
        if opened is not self.shown:
            self.unread.add(opened.session_id)

    def _kept_in_memory(self, session_id: str) -> OpenSession | None:
        opened = self._sessions.get(session_id)
        return opened if opened is not None and opened.is_ahead_of_disk else None

    @property
    def running_ids(self) -> frozenset[str]:
        return frozenset(opened.session_id for opened in self.running)

    @property
    def asking_ids(self) -> frozenset[str]:
        """Other sessions than the shown one in which a tool call waits for the user."""
        others = [opened for opened in self.all if opened is not self.shown]
        return frozenset(opened.session_id for opened in others if opened.question is not None)

    @property
    def waiting(self) -> tuple[OpenSession, ...]:
        return tuple(opened for opened in self.all if opened.is_waiting)

    @property
    def running(self) -> tuple[OpenSession, ...]:
        return tuple(opened for opened in self.all if opened.is_running)

    def with_hold(self, hold: Hold) -> OpenSession | None:
        """None if the prompt waits no more."""
        return next((opened for opened in self.all if hold in opened.held), None)

    def find(self, session_id: str) -> OpenSession | None:
        return self._sessions.get(session_id)

    def update_header(self, changed: SessionHeader) -> None:
        """Follow a change on the disk; else an export would lack it.

        A session that is not on the disk yet gets its title only here; its first prompt saves it.
        """
        opened = self._sessions.get(changed.session_id)
        if opened is not None:
            opened.update_header(changed)

    async def write_unsaved(self) -> None:
        """Retry the messages that the disk has refused."""
        if self.refused_ids:
            await self._save_queue.write_unsaved()

    @property
    def refused_ids(self) -> frozenset[str]:
        """Sessions with messages that the disk has refused."""
        return frozenset(
            opened.session_id
            for opened in self.all
            if self._save_queue.is_unsaved(opened.session_id)
            and not (opened.turn is not None and opened.turn.pending)  # the first try
        )

    def unsaved(self) -> list[SessionHeader]:
        """Return headers that the list read from the disk may lack."""
        headers = [opened.header for opened in self.all]
        return [header for header in headers if self._save_queue.is_unsaved(header.session_id)]

    def only_queued(self) -> list[SessionHeader]:
        """Return headers of other sessions with queued prompts only, which the disk lacks.

        The first prompt gives a missing title, as when it is sent.
        """
        headers: list[SessionHeader] = []
        for opened in self.waiting:
            if opened is not self.shown and not opened.messages:
                title = opened.header.title or title_of(*split_draft(opened.queue[0]))
                headers.append(replace(opened.header, title=title))
        return headers
