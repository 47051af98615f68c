"""Saved sessions: their list, grouped by day, and the actions on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime, tzinfo

from lmchat.services.exporting import Exporter
from lmchat.sessions.message import now
from lmchat.sessions.session import SessionGroup, SessionHeader, group_by_day, tags_from
from lmchat.storage.store import Store


class Library:
    """Actions on saved sessions; most return the changed header."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime] = now,
        zone: tzinfo | None = None,
        empty_logs: Callable[[], None] = lambda: None,
    ) -> None:
        """Use a store.

        Args:
            store: The saved sessions.
            clock: Returns the current time.
            zone: Time zone of the user; None is that of this machine.
            empty_logs: Empties the logs that may contain text of a session; it may block.
        """
        self.store = store
        self._empty_logs = empty_logs
        self.exporter = Exporter(store, zone=zone)
        self._zone = zone
        self._clock = clock

    def today(self) -> date:
        return self._clock().astimezone(self._zone).date()

    async def groups(self) -> tuple[SessionGroup, ...]:
        """Return the sessions that are not in the trash, in the groups of `group_by_day`."""
        headers = await self.store.list_sessions()
        return await asyncio.to_thread(group_by_day, headers, moment=self._clock(), zone=self._zone)

    async def every_id(self) -> tuple[str, ...]:
        return tuple(header.session_id for header in await self.store.list_sessions())

    async def trash(self) -> tuple[SessionHeader, ...]:
        return await self.store.list_sessions(is_trash=True)

    async def rename(self, session_id: str, title: str) -> SessionHeader:
        return await self.store.update_session(session_id, {"title": " ".join(title.split())})

    async def tag(self, session_id: str, tags: Sequence[str]) -> SessionHeader:
        return await self.store.update_session(session_id, {"tags": tuple(tags)})

    async def toggle_tags(self, session_id: str, typed: str) -> SessionHeader:
        """Add each typed tag to a session, or remove it if the session has it."""
        session = await self.store.open_session(session_id, count=1)
        tags = list(session.header.tags)
        for tag in tags_from(typed):
            if tag in tags:
                tags.remove(tag)
            else:
                tags.append(tag)
        return await self.tag(session_id, tags)

    async def pin(self, session_id: str, *, is_pinned: bool = True) -> SessionHeader:
        return await self.store.update_session(session_id, {"is_pinned": is_pinned})

    async def archive(self, session_id: str, *, is_archived: bool = True) -> SessionHeader:
        return await self.store.update_session(session_id, {"is_archived": is_archived})

    async def delete(self, session_id: str) -> SessionHeader:
        """Move a session to the trash."""
        return await self.store.update_session(session_id, {"deleted_at": self._clock()})

    async def undo_delete(self) -> SessionHeader | None:
        """Restore the session that was deleted last, also by an earlier run."""
        trash = await self.trash()  # begins with what was deleted last
        return await self.restore(trash[0].session_id) if trash else None

    async def restore(self, session_id: str) -> SessionHeader:
        return await self.store.update_session(session_id, {"deleted_at": None})

    async def purge(self, *session_ids: str) -> None:
        """Delete sessions permanently, and empty the log of the tools, which may quote them."""
        await self.store.purge(*session_ids)
        await asyncio.to_thread(self._empty_logs)

    async def empty_trash(self, *session_ids: str) -> tuple[str, ...]:
        """Delete permanently those of the sessions that are still in the trash; return their ids.

        Another window may have restored or continued one while the user was asked. Messages that
        were deleted in other sessions are deleted permanently, too.
        """
        ids_in_trash = {header.session_id for header in await self.trash()}
        left_ids = tuple(session_id for session_id in session_ids if session_id in ids_in_trash)
        await self.store.purge(*left_ids, is_with_messages=True)
        await asyncio.to_thread(self._empty_logs)
        return left_ids
