"""Sessions as files: one, several, or all into a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from datetime import tzinfo
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.session import Session
from lmchat.errors import FileExists, FileRefused, LMChatError, StoreUnavailable, WrongUse
from lmchat.files import write_new_file
from lmchat.formats.writing import FORMATS, WriteOptions, export_name, render
from lmchat.services.markdown_pages import MarkdownPages
from lmchat.services.ports import ChatStore
from lmchat.text import safe_line

_WITH_FILES = ("json", "html")
_FORMS = {f".{form}": form for form in FORMATS} | {
    "": "md",
    ".markdown": "md",
    ".htm": "html",
}
"""Formats by the ending of a file's name."""


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
    refused: tuple[tuple[str, LMChatError], ...]
    not_tried: int = 0  # number of sessions after a failure that would repeat, as of a full disk


class Exporter:
    """Writer of sessions of a store into files."""

    def __init__(self, store: ChatStore, *, zone: tzinfo | None = None) -> None:
        self._store = store
        self._zone = zone

    async def export_text(self, session: Session, export_as: ExportAs = MARKDOWN) -> str:
        """Return a session as text."""
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
        """Write a session into a file or folder and return its path; raises `FileRefused`."""
        async with aclosing(MarkdownPages()) as pages:
            return await self._write(session, path, export_as, pages, is_forced=is_forced)

    async def export_several(
        self,
        ids: Sequence[str],
        folder: Path,
        export_as: ExportAs = MARKDOWN,
        *,
        is_forced: bool = False,
    ) -> Exported:
        """Write sessions into a folder; one that is refused does not stop the others."""
        paths: list[Path] = []
        refused: list[tuple[str, LMChatError]] = []
        not_tried = 0
        async with aclosing(MarkdownPages()) as pages:
            for number, session_id in enumerate(ids, 1):
                try:
                    session = await self._store.open_session(session_id)
                    path = folder / export_name(session, form=export_as.form)
                    paths.append(
                        await self._write(session, path, export_as, pages, is_forced=is_forced)
                    )
                except LMChatError as error:
                    refused.append((session_id, error))
                    if isinstance(error, FileRefused) and not isinstance(error, FileExists):
                        not_tried = len(ids) - number
                        break
        return Exported(paths=tuple(paths), refused=tuple(refused), not_tried=not_tried)

    async def _write(
        self,
        session: Session,
        path: Path,
        export_as: ExportAs,
        pages: MarkdownPages,
        *,
        is_forced: bool,
    ) -> Path:
        is_folder = await asyncio.to_thread(path.is_dir)
        form = export_as.form
        if not form:
            form = MARKDOWN.form if is_folder else form_of(path)
        text = await self._text(session, replace(export_as, form=form), pages)
        if is_folder:
            path /= export_name(session, form=form)
        await asyncio.to_thread(write_new_file, path, text, is_forced=is_forced)
        return path

    async def _text(self, session: Session, export_as: ExportAs, pages: MarkdownPages) -> str:
        form = export_as.form or MARKDOWN.form
        if export_as.with_branches or form == "json":
            session = await self._with_tree(session, is_needed=export_as.with_branches)
        if form in _WITH_FILES:
            session = await self._with_files(session)
        options = WriteOptions(
            with_reasoning=export_as.with_reasoning,
            zone=self._zone,
            pages=await pages.html_of(session) if form == "html" else {},
        )
        return await asyncio.to_thread(render, session, form, options)

    async def _with_files(self, session: Session) -> Session:
        """Read the attached files that are there."""
        files: dict[str, bytes] = {}
        for message in (*session.messages, *session.tree):
            for part in message.files:
                with suppress(StoreUnavailable):  # it was removed, or is damaged
                    files[part.digest] = await self._store.read_file(part.digest)
        return replace(session, files=files)

    async def _with_tree(self, session: Session, *, is_needed: bool) -> Session:
        """Read the branches; the messages that are shown may be newer than the stored ones."""
        try:
            stored = await self._store.tree(session.header.session_id)
            names = await self._store.branch_names(session.header.session_id)
        except LMChatError:
            if is_needed:
                raise
            return session
        messages = {message.message_id: message for message in (*stored, *session.messages)}
        return replace(session, tree=tuple(messages.values()), branch_names=dict(names))


def form_of(path: Path) -> str:
    """Return the format for the ending of a file's name, Markdown without one.

    Raises `WrongUse` for an unknown one.
    """
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        words = f"Sessions cannot be exported as {safe_line(path.suffix, limit=20)}"
        hint = "For another ending, choose the format with: lmchat export --format FORMAT"
        raise WrongUse(f"{words}; use .md, .json, .html or .txt.", hint=hint)
    return form
