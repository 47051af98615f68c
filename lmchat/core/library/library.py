"""Saved sessions: their list, grouped by day, the actions on them, and their export to files.

A `Library` changes headers of sessions that need not be in memory; `OpenSession` changes one that
is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import FileRefused, LMChatError, SessionNotFound, StoreUnavailable
from lmchat.base.files.disk import is_stream, write_new_file
from lmchat.base.files.left_files import UNSAVED_NAME
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line
from lmchat.core.formats.exports.entries import WriteOptions
from lmchat.core.formats.exports.html import html_by_message
from lmchat.core.formats.exports.render import export_name, form_of, render
from lmchat.core.formats.json_sessions import to_json
from lmchat.core.sessions.message import now
from lmchat.core.sessions.session import (
    Session,
    SessionGroup,
    SessionHeader,
    group_by_day,
    typed_title,
)
from lmchat.core.storage.store import Store

# they hold the content of attached files
_FORMS_WITH_FILES = ("json", "html")


class ExportAs(Struct, frozen=True, kw_only=True):
    """Format of an export, and its contents beside the text."""

    form: str = ""  # "": by the name of the file, or else Markdown
    with_reasoning: bool = False
    with_branches: bool = False
    """JSON has them anyway, where they can be read."""


_DEFAULT_EXPORT = ExportAs()


class Library:
    """Actions that add something to the store: a time, checked values, a format.

    Its changes wait for the disk; those of the screen go through `SaveQueue.change`.
    """

    def __init__(self, store: Store, *, clock: Callable[[], datetime] = now) -> None:
        self.store = store
        self._clock = clock
        self._missing: list[str] = []  # attached files that could not be exported, and why

    def today(self) -> date:
        return self._clock().astimezone().date()

    async def groups(self) -> tuple[SessionGroup, ...]:
        """Leave out the trash."""
        headers = await self.store.list_sessions()
        return await asyncio.to_thread(group_by_day, headers, moment=self._clock())

    async def rename(self, session_id: str, title: str) -> SessionHeader:
        return await self.store.update_session(session_id, {"title": typed_title(title)})

    async def delete(self, session_id: str) -> SessionHeader:
        return await self.store.update_session(session_id, {"deleted_at": self._clock()})

    async def undo_delete(self) -> SessionHeader | None:
        """Restore the session that was deleted last, by any run."""
        trash = await self.store.list_sessions(is_trash=True)  # the last deleted is first
        return await self.restore(trash[0].session_id) if trash else None

    async def find_deleted(self, id_or_prefix: str) -> str:
        """Return the id of a session in the trash; `last` is the one that was deleted last.

        Raises `SessionNotFound`.
        """
        trash = [header.session_id for header in await self.store.list_sessions(is_trash=True)]
        if id_or_prefix == "last" and trash:
            return trash[0]
        session_id = await self.store.find_id(id_or_prefix)
        if session_id not in trash:
            raise SessionNotFound(
                "This session is not in the trash.",
                next_step="`lmchat sessions --trash` lists what can be restored.",
            )
        return session_id

    async def restore(self, session_id: str) -> SessionHeader:
        return await self.store.update_session(session_id, {"deleted_at": None})

    # Export

    async def export_file(
        self,
        session: Session,
        path: Path,
        export_as: ExportAs = _DEFAULT_EXPORT,
        *,
        is_forced: bool = False,
        may_stream: bool = False,
        makes_folder: bool = False,
    ) -> Path:
        """Write a session into a file, or into a file in a folder; return its path.

        In a folder, the title gives the name. With `makes_folder`, `path` is one that may be
        missing. `is_forced` and `may_stream` are those of `write_new_file`. Raises `FileRefused`,
        and `WrongUse` for an unknown suffix if `export_as` names no format.
        """
        # stdout, which only commands of a shell have
        if str(path) == "-" and not makes_folder:
            raise FileRefused(
                "An export needs a name.", next_step="Name a file, such as garden.md."
            )
        # Path.is_dir raises for a long name, and a folder that may not be entered
        is_folder = makes_folder or await asyncio.to_thread(os.path.isdir, path)
        form = export_as.form or ("md" if is_folder else form_of(path))
        text = await self.export_text(session, replace(export_as, form=form))
        if is_folder:
            path /= export_name(session, form=form)
        write = partial(
            write_new_file,
            path,
            text,
            is_forced=is_forced,
            may_stream=may_stream,
            makes_folder=makes_folder,
        )
        is_pipe = may_stream and await asyncio.to_thread(is_stream, path)
        # it may wait for the reader of a pipe
        written = await (run_abandonable(write) if is_pipe else asyncio.to_thread(write))
        self.require_files()
        return written

    async def export_text(self, session: Session, export_as: ExportAs = _DEFAULT_EXPORT) -> str:
        """JSON has branches in any case."""
        form = export_as.form or "md"  # there is no name to go by
        if export_as.with_branches or form == "json":
            session = await self.with_branches(session)
        if form in _FORMS_WITH_FILES:
            session = await self.with_files(session)
        html_by_id: dict[str, str] = {}
        if form == "html":
            html_by_id = await html_by_message(session)
        options = WriteOptions(with_reasoning=export_as.with_reasoning, html_by_id=html_by_id)
        return await asyncio.to_thread(render, session, form, options)

    async def with_branches(self, session: Session) -> Session:
        with suppress(LMChatError):  # a session that could not be saved has no branches
            stored = await self.store.tree(session.header.session_id)
            # messages in memory may be newer
            messages = {message.message_id: message for message in (*stored, *session.messages)}
            session = replace(session, tree=tuple(messages.values()))
        return session

    async def with_files(self, session: Session) -> Session:
        files: dict[str, bytes] = {}
        for message in (*session.messages, *session.tree):
            for part in message.files:
                try:
                    files[part.digest] = await self.store.files.read(part.digest)
                except StoreUnavailable as error:  # removed, or damaged
                    self._missing.append(f"{safe_line(part.name)}: {error.message}")
        return replace(session, files=files)

    def require_files(self) -> None:
        """Raise `FileRefused` if an export since the last call lacks attached files."""
        missing = " ".join(dict.fromkeys(self._missing))
        self._missing.clear()
        if missing:
            raise FileRefused(f"Not in the export: {missing}", next_step="All else is in it.")

    async def keep_unsaved(self, folder: Path, sessions: Iterable[Session]) -> list[Path]:
        """Write what could not be saved into files for `lmchat import`; raises `FileRefused`.

        Files of running answers, which have the same texts, are removed.
        """

        def write() -> list[Path]:
            return [
                write_new_file(
                    folder / UNSAVED_NAME.format(session.header.session_id),
                    to_json(session),
                    makes_folder=True,
                    mode=0o600,
                )
                for session in sessions
            ]

        files = await asyncio.to_thread(write)
        if files:
            await self.store.drop_answers(with_saved_prompts=False)
        return files
