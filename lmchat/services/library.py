"""Sessions as a list: by day, renamed, pinned, archived, deleted and brought back, exported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from lmchat.domain.message import now
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import LMChatError
from lmchat.formats.catalogue import export_name, render
from lmchat.services.ports import SessionStore

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


class WriteNewFile(Protocol):
    """Writes a file whole; raises `FileRefused` where it exists and is not forced. Runs in a thread."""

    def __call__(self, path: Path, text: str, *, is_forced: bool = False) -> None:
        """Write it."""
        ...


class SessionGroup(Struct, frozen=True, kw_only=True):
    """Sessions under one heading of the list."""

    name: str
    """`Pinned`, `Today`, `Yesterday`, months (of other years: `November 2025`), then `Archived`."""
    headers: tuple[SessionHeader, ...]
    """In the order of the list."""


class Exported(Struct, frozen=True, kw_only=True):
    """What became of the export of all sessions."""

    paths: tuple[Path, ...]
    """The files that were written."""
    refused: tuple[tuple[str, LMChatError], ...]
    """Ids of the sessions that were not, with the reason."""


class Library:
    """What the list of sessions, the command line and the export use; titles are as stored."""

    def __init__(
        self,
        store: SessionStore,
        *,
        write_file: WriteNewFile,
        clock: Callable[[], datetime] = now,
        zone: tzinfo | None = None,
    ) -> None:
        self.store = store
        self._write_file = write_file
        self._clock = clock
        self._zone = zone
        self._deleted: list[str] = []

    async def headers(
        self, *, is_archived: bool | None = False, limit: int = 1000
    ) -> tuple[SessionHeader, ...]:
        """Return what is in the list, pinned first, then newest first; None: archived ones among them."""
        found = await self.store.list_sessions(limit=limit)
        return tuple(header for header in found if is_archived in (None, header.is_archived))

    async def groups(
        self, *, is_archived: bool | None = False, limit: int = 1000
    ) -> tuple[SessionGroup, ...]:
        """Return the list by day."""
        headers = await self.headers(is_archived=is_archived, limit=limit)
        return group_by_day(headers, moment=self._clock(), zone=self._zone)

    async def trash(self) -> tuple[SessionHeader, ...]:
        """Return deleted sessions, those deleted last first."""
        return await self.store.list_sessions(is_trash=True)

    async def rename(self, session_id: str, title: str) -> SessionHeader:
        """Change a title; an empty one becomes that of the first prompt again."""
        return await self.store.update_session(session_id, {"title": " ".join(title.split())})

    async def pin(self, session_id: str, *, is_pinned: bool = True) -> SessionHeader:
        """Put a session on top of the list, or back."""
        return await self.store.update_session(session_id, {"is_pinned": is_pinned})

    async def archive(self, session_id: str, *, is_archived: bool = True) -> SessionHeader:
        """Take a session out of the list, or put it back."""
        return await self.store.update_session(session_id, {"is_archived": is_archived})

    async def delete(self, session_id: str) -> SessionHeader:
        """Put a session into the trash; `undo_delete` brings it back."""
        header = await self.store.update_session(session_id, {"deleted_at": self._clock()})
        self._deleted.append(session_id)
        return header

    async def undo_delete(self) -> SessionHeader | None:
        """Bring back what was deleted last and is still in the trash, also by an earlier run."""
        trash = [header.session_id for header in await self.trash()]
        while self._deleted and self._deleted[-1] not in trash:
            self._deleted.pop()
        last = self._deleted.pop() if self._deleted else next(iter(trash), None)
        return None if last is None else await self.restore(last)

    async def restore(self, session_id: str) -> SessionHeader:
        """Take a session out of the trash."""
        return await self.store.update_session(session_id, {"deleted_at": None})

    async def purge(self, session_id: str) -> None:
        """Remove a session for good; ask before."""
        await self.store.purge(session_id)

    async def find(self, id_or_prefix: str) -> str:
        """Return the full id for a prefix of 4 or more, or `last`; raises `SessionNotFound`."""
        return await self.store.find(id_or_prefix)

    def proposed_name(self, session: Session, *, form: str = "md") -> str:
        """Return a safe file name for a session."""
        return export_name(session, form=form)

    async def export_text(self, session: Session, *, form: str = "md", with_reasoning: bool = False) -> str:
        """Return a session as `md`, `json`, `html` or `txt`; made in a thread, a long one takes its time."""
        return await asyncio.to_thread(
            render, session, form=form, with_reasoning=with_reasoning, zone=self._zone
        )

    async def export_file(
        self,
        session: Session,
        path: Path,
        *,
        form: str = "",
        with_reasoning: bool = False,
        is_forced: bool = False,
    ) -> Path:
        """Write a session into a file, or under a name of its own into a folder, and return its path.

        Raises:
            FileRefused: the file exists and is not forced, or cannot be written.
        """
        form = form or form_of(path)
        text = await self.export_text(session, form=form, with_reasoning=with_reasoning)
        return await asyncio.to_thread(self._write, session, path, text, form=form, is_forced=is_forced)

    async def export_all(
        self, folder: Path, *, form: str = "md", with_reasoning: bool = False, is_forced: bool = False
    ) -> Exported:
        """Write every session into a folder, archived ones too; one that cannot be costs itself alone."""
        paths: list[Path] = []
        refused: list[tuple[str, LMChatError]] = []
        for header in await self.headers(is_archived=None, limit=1_000_000):
            try:
                session = await self.store.open_session(header.session_id)
                path = folder / export_name(session, form=form)
                paths.append(
                    await self.export_file(
                        session, path, form=form, with_reasoning=with_reasoning, is_forced=is_forced
                    )
                )
            except LMChatError as error:
                refused.append((header.session_id, error))
        return Exported(paths=tuple(paths), refused=tuple(refused))

    def _write(self, session: Session, path: Path, text: str, *, form: str, is_forced: bool) -> Path:
        if path.is_dir():
            path /= export_name(session, form=form)
        self._write_file(path, text, is_forced=is_forced)
        return path


def with_unsaved(
    groups: Sequence[SessionGroup], unsaved: Iterable[SessionHeader]
) -> tuple[SessionGroup, ...]:
    """Return the list with sessions on top that are in memory only."""
    listed = {header.session_id for group in groups for header in group.headers}
    missing = tuple(header for header in unsaved if header.session_id not in listed)
    return (*([SessionGroup(name="Not saved", headers=missing)] if missing else []), *groups)


def form_of(path: Path) -> str:
    """Return the format that the ending of a file's name asks for; Markdown where it tells nothing."""
    ending = path.suffix.lower().removeprefix(".")
    return {"json": "json", "html": "html", "htm": "html", "txt": "txt"}.get(ending, "md")


def group_by_day(
    headers: Iterable[SessionHeader], *, moment: datetime, zone: tzinfo | None = None
) -> tuple[SessionGroup, ...]:
    """Put headers under headings, in the order in which they come; no zone means that of this machine."""
    groups: dict[str, list[SessionHeader]] = {}
    archived: list[SessionHeader] = []
    for header in headers:
        if header.is_archived:
            archived.append(header)
            continue
        name = "Pinned" if header.is_pinned else day_name(header.updated_at, moment=moment, zone=zone)
        groups.setdefault(name, []).append(header)
    if archived:
        groups["Archived"] = archived
    return tuple(SessionGroup(name=name, headers=tuple(found)) for name, found in groups.items())


def day_name(time: datetime, *, moment: datetime, zone: tzinfo | None = None) -> str:
    """Return the heading for a time, seen at a moment; what lies ahead, as clocks jump, is of today."""
    day, today = time.astimezone(zone).date(), moment.astimezone(zone).date()
    if day >= today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    month = _MONTHS[day.month - 1]
    return month if day.year == today.year else f"{month} {day.year}"
