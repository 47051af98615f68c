"""Sessions as files: one, several, or all into a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import aclosing, suppress
from datetime import tzinfo
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import FileExists, FileRefused, LMChatError, StoreUnavailable
from lmchat.files.disk import write_new_file
from lmchat.formats.exporting import export_name, form_of, render
from lmchat.formats.html_export import MarkdownPages
from lmchat.formats.text_export import WriteOptions
from lmchat.sessions.session import Session
from lmchat.storage.store import Store

_FORMS_WITH_FILES = ("json", "html")  # formats that hold the content of attached files


class ExportAs(Struct, frozen=True, kw_only=True):
    """Format of an export, and its contents beside the text."""

    form: str = ""  # `md`, `json`, `html` or `txt`; empty: by the name of the file, else Markdown
    with_reasoning: bool = False
    with_branches: bool = False
    """Whether to export all branches; JSON has them anyway, where they can be read."""


MARKDOWN = ExportAs(form="md")
BY_NAME = ExportAs()


class Exported(Struct, frozen=True, kw_only=True):
    """Outcome of the export of several sessions."""

    paths: tuple[Path, ...]
    """Files that were written."""
    refused: tuple[tuple[str, LMChatError], ...]
    """Id and error of each session that could not be written."""
    not_tried: int = 0
    """Number of sessions after a file that could not be written, as on a full disk."""


class Exporter:
    """Writer of sessions of a store into files; `zone` is the time zone, None for local time."""

    def __init__(self, store: Store, *, zone: tzinfo | None = None) -> None:
        self._store = store
        self._zone = zone

    async def export_text(self, session: Session, export_as: ExportAs = MARKDOWN) -> str:
        """Return the text of the file that an export of this session would write."""
        async with aclosing(MarkdownPages()) as pages:
            return await self._text(session, export_as, pages)

    async def export_file(
        self,
        session: Session,
        path: Path,
        export_as: ExportAs = BY_NAME,
        *,
        is_forced: bool = False,
    ) -> Path:
        """Write a session into a file or folder and return the file's path.

        An existing file is replaced if `is_forced`. Raises `FileRefused`, and `WrongUse` for an
        unknown suffix if `export_as` names no format.
        """
        async with aclosing(MarkdownPages()) as pages:
            return await self._write_file(session, path, export_as, pages, is_forced=is_forced)

    async def export_several(
        self,
        ids: Sequence[str],
        folder: Path,
        export_as: ExportAs = MARKDOWN,
        *,
        is_forced: bool = False,
    ) -> Exported:
        """Write the sessions of these ids into a folder, each into a file of its own.

        If a session cannot be read, or its file exists already and `is_forced` is not set, the
        others are still written. After any other file that cannot be written, they are not tried:
        their files would fail for the same reason, such as a full disk.
        """
        paths: list[Path] = []
        refused: list[tuple[str, LMChatError]] = []
        not_tried = 0
        async with aclosing(MarkdownPages()) as pages:
            for number, session_id in enumerate(ids, 1):
                try:
                    session = await self._store.open_session(session_id)
                    path = folder / export_name(session, form=export_as.form)
                    path = await self._write_file(
                        session, path, export_as, pages, is_forced=is_forced
                    )
                    paths.append(path)
                except LMChatError as error:
                    refused.append((session_id, error))
                    is_of_writing = isinstance(error, FileRefused)
                    if is_of_writing and not isinstance(error, FileExists):
                        not_tried = len(ids) - number
                        break
        return Exported(paths=tuple(paths), refused=tuple(refused), not_tried=not_tried)

    async def _write_file(
        self,
        session: Session,
        path: Path,
        export_as: ExportAs,
        pages: MarkdownPages,
        *,
        is_forced: bool,
    ) -> Path:
        """Write a session into the file `path`, or into a file in the folder `path`.

        Return the path of the file, whose name in a folder is made of the title. An existing file
        is replaced only if `is_forced`. Raises `FileRefused`, and `WrongUse` for an unknown suffix.
        """
        # Path.is_dir would raise an error for a long name, and for a folder that may not be entered
        is_folder = await asyncio.to_thread(os.path.isdir, path)
        form = export_as.form
        if not form:
            form = MARKDOWN.form if is_folder else form_of(path)
        text = await self._text(session, replace(export_as, form=form), pages)

        if is_folder:
            path /= export_name(session, form=form)
        return await asyncio.to_thread(write_new_file, path, text, is_forced=is_forced)

    async def _text(self, session: Session, export_as: ExportAs, pages: MarkdownPages) -> str:
        """Return a session as text in the format of `export_as`.

        Branches are read from the store if they are asked for, and for JSON; attached files are
        read for the formats that hold their content.
        """
        form = export_as.form or MARKDOWN.form
        if export_as.with_branches or form == "json":
            session = await self._with_tree(session, is_needed=export_as.with_branches)
        if form in _FORMS_WITH_FILES:
            session = await self._with_files(session)
        html_by_message = await pages.html_of(session) if form == "html" else {}
        options = WriteOptions(
            with_reasoning=export_as.with_reasoning, zone=self._zone, pages=html_by_message
        )
        return await asyncio.to_thread(render, session, form, options)

    async def _with_files(self, session: Session) -> Session:
        """Return a session with the content of its attached files, without those it cannot read."""
        files: dict[str, bytes] = {}
        for message in (*session.messages, *session.tree):
            for part in message.files:
                with suppress(StoreUnavailable):  # it was removed, or is damaged
                    files[part.digest] = await self._store.read_file(part.digest)
        return replace(session, files=files)

    async def _with_tree(self, session: Session, *, is_needed: bool) -> Session:
        """Return a session with its branches from the store.

        Its own messages replace the stored ones, since they may be newer. If the branches cannot
        be read and are not needed, the session is returned unchanged.
        """
        try:
            stored = await self._store.tree(session.header.session_id)
        except LMChatError:
            if is_needed:
                raise
            return session
        messages = {message.message_id: message for message in (*stored, *session.messages)}
        return replace(session, tree=tuple(messages.values()))
