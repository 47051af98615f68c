"""Sessions in memory, one of which is active."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from msgspec.structs import replace

from lmchat.base.errors import SessionNotFound
from lmchat.core.chat.save_queue import SaveQueue
from lmchat.core.chat.session import OnPendingChange, OpenSession
from lmchat.core.sessions.message import AnswerState, ChatMessage, new_id, now
from lmchat.core.sessions.prompts import split_draft
from lmchat.core.sessions.session import MESSAGES_PER_READ, Session, SessionHeader, title_of
from lmchat.core.storage.store import Store


def require_restored(header: SessionHeader) -> None:
    """Raise `SessionNotFound` for a session in the trash."""
    if header.deleted_at is not None:
        raise SessionNotFound(
            "This session is in the trash.",
            next_step=f"`lmchat sessions restore {header.session_id}` restores it.",
        )


class OpenSessions:
    """The active session, and others of which the disk lacks a part (`is_ahead_of_disk`)."""

    def __init__(
        self,
        store: Store,
        save_queue: SaveQueue,
        *,
        on_pending_change: OnPendingChange,
    ) -> None:
        self.unread: set[str] = set()  # ids; the turn ended while another was active
        self._store = store
        self._save_queue = save_queue
        self._make = partial(
            OpenSession,
            save_queue=save_queue,
            on_pending_change=on_pending_change,
            typed_options=[],
        )
        self._sessions: dict[str, OpenSession] = {}  # by id; with the active one
        self.new_session = self._make_new()
        """`switch_to_new` shows it, and replaces it once it has started."""
        self.active = self._sessions[self.new_session.session_id] = self.new_session

    @property
    def all(self) -> tuple[OpenSession, ...]:
        return tuple(self._sessions.values())

    def switch_to_new(self) -> OpenSession:
        if self.new_session.has_started:
            self.new_session = self._make_new()
        return self.switch_to(self.new_session)

    def _make_new(self) -> OpenSession:
        """Make a session, which the disk has from its first prompt."""
        moment = now()
        header = SessionHeader(session_id=new_id(), title="", created_at=moment, updated_at=moment)
        return self._make(Session(header=header))

    async def find_or_load(self, session_id: str) -> OpenSession:
        """Return the session from memory if the disk lacks a part of it, else from the disk.

        There, another lmchat may have changed it. `switch_to` then shows it. Raises
        `SessionNotFound` if it is in the trash: its next prompt would take it out.
        """
        if (session := self._loaded(session_id)) is not None:
            return session
        stored = await self._store.open_session(session_id, count=MESSAGES_PER_READ, is_locked=True)
        require_restored(stored.header)
        # a turn may have started during the read
        return self._loaded(session_id) or self._make(stored)

    async def read_ends(
        self, session: OpenSession, message_ids: Collection[str]
    ) -> list[ChatMessage]:
        """Return what another lmchat was writing and has ended, also by a kill."""
        stored = await self._store.open_session(session.session_id, count=MESSAGES_PER_READ)
        ended = [
            message
            for message in stored.messages
            if message.message_id in message_ids and message.state is not AnswerState.STREAMING
        ]
        for message in ended:
            session.replace(message)
        return ended

    def changing_path(self, session_id: str) -> AbstractContextManager[None]:
        """Let no turn start while the block changes a path on the disk.

        Raises `RequestInvalid` as `require_free_end` does. A session not in memory is free.
        """
        session = self._sessions.get(session_id)
        if session is None:
            return nullcontext()
        session.require_free_end()
        return session.changing()

    async def choose_path(self, session_id: str, message_id: str) -> Session:
        """Choose the newest path through a message; raises as `changing_path` does."""
        with self.changing_path(session_id):
            return await self._store.choose_path_through(session_id, message_id)

    async def fork(self, session: OpenSession, message_id: str) -> Session:
        """Copy the path to a message into a new session; return that.

        A prompt sent before it is shown would go to the old one. Raises as `changing` does.
        """
        with session.changing():
            return await self._store.fork(session.session_id, message_id)

    async def delete(self, session: OpenSession, message_id: str) -> Session:
        """Hide a message and all below it; return the path to show.

        Raises as `require_idle` does.
        """
        session.require_idle()
        with session.changing():
            return await self._store.delete_message(session.session_id, message_id)

    async def undo_delete(self, session_id: str) -> Session | None:
        """Restore what was deleted last; raises as `changing_path` does."""
        with self.changing_path(session_id):
            deleted_id = await self._store.last_deleted_id(session_id)
            if deleted_id is None:
                return None
            return await self._store.restore_message(session_id, deleted_id)

    def switch_to_path(self, stored: Session) -> OpenSession:
        """Show a path that was read from the disk, in place of the one in memory."""
        session = self._sessions.get(stored.header.session_id)
        if session is None:
            session = self._make(stored)
        else:
            session.show_path(stored)
        return self.switch_to(session)

    def switch_to(self, session: OpenSession) -> OpenSession:
        """Show a session; drop the others that can be read again."""
        self.active = session
        self._sessions = {
            session_id: other
            for session_id, other in self._sessions.items()
            if self._loaded(session_id) is not None
        }
        self._sessions[session.session_id] = session
        self._store.keep_locked({*self._sessions, self.new_session.session_id})
        self.unread.discard(session.session_id)
        return session

    def mark_unread(self, session: OpenSession) -> None:
        if session is not self.active:
            self.unread.add(session.session_id)

    def _loaded(self, session_id: str) -> OpenSession | None:
        session = self._sessions.get(session_id)
        return session if session is not None and session.is_ahead_of_disk else None

    @property
    def running_ids(self) -> frozenset[str]:
        return frozenset(session.session_id for session in self.running)

    @property
    def asking_ids(self) -> frozenset[str]:
        """Other sessions in which a tool call waits for the user."""
        others = [session for session in self.all if session is not self.active]
        return frozenset(session.session_id for session in others if session.question is not None)

    @property
    def waiting(self) -> tuple[OpenSession, ...]:
        return tuple(session for session in self.all if session.is_waiting)

    @property
    def running(self) -> tuple[OpenSession, ...]:
        return tuple(session for session in self.all if session.is_running)

    def find(self, session_id: str) -> OpenSession | None:
        return self._sessions.get(session_id)

    def update_header(self, changed: SessionHeader) -> None:
        """Follow a change on the disk; else an export would lack it.

        A session that is not on the disk gets its title only here; its first prompt saves it.
        """
        session = self._sessions.get(changed.session_id)
        if session is not None:
            session.update_header(changed)

    async def write_unsaved(self) -> None:
        """Retry the messages that the disk has refused."""
        if self.refused_ids:
            await self._save_queue.write_unsaved()

    @property
    def refused_ids(self) -> frozenset[str]:
        """Return sessions with messages that the disk has refused."""
        return frozenset(
            session.session_id
            for session in self.all
            if self._save_queue.is_unsaved(session.session_id)
            and not session.turn.pending  # the first try
        )

    def unsaved(self) -> list[SessionHeader]:
        """Return headers that the list read from the disk may lack."""
        headers = [session.header for session in self.all]
        return [header for header in headers if self._save_queue.is_unsaved(header.session_id)]

    def only_queued(self) -> list[SessionHeader]:
        """Return other sessions with queued prompts only, which the disk lacks.

        The first prompt gives a missing title, as when it is sent.
        """
        return [
            replace(
                session.header,
                title=session.header.title or title_of(*split_draft(session.queue.drafts[0])),
            )
            for session in self.waiting
            if session is not self.active and not session.messages
        ]
