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


class ExportAs(Struct, frozen=True, kw_only=True):
    """Format of an export, and what goes along with the text."""

    form: str = ""  # `md`, `json`, `html` or `txt`; empty: by the name of the file, else Markdown
    with_reasoning: bool = False
    with_branches: bool = False
    """Whether to export all branches; JSON has them anyway, where they can be read."""


MARKDOWN = ExportAs(form="md")
BY_NAME = ExportAs()
_WITH_FILES = ("json", "html")
_FORMS = {"": "md", ".markdown": "md", ".htm": "html", **{f".{form}": form for form in FORMATS}}


class Exported(Struct, frozen=True, kw_only=True):
    """Outcome of the export of several sessions."""

    paths: tuple[Path, ...]
    refused: tuple[tuple[str, LMChatError], ...]
    untried: int = 0  # number of sessions after a failure that would repeat, as of a full disk


class Exporter:
    """Writer of sessions of a store into files."""

    def __init__(self, store: ChatStore, *, zone: tzinfo | None = None) -> None:
        self._store = store
        self._zone = zone

    async def export_text(
        self, session: Session, how: ExportAs = MARKDOWN, *, converter: MarkdownPages | None = None
    ) -> str:
        """Return a session as text; `converter` is used for several sessions."""
        form = how.form or MARKDOWN.form
        if how.with_branches or form == "json":
            session = await self._with_tree(session, is_needed=how.with_branches)
        if form in _WITH_FILES:
            session = await self._with_files(session)
        pages = await _pages_of(session, converter) if form == "html" else {}
        options = WriteOptions(with_reasoning=how.with_reasoning, zone=self._zone, pages=pages)
        return await asyncio.to_thread(render, session, form, options)

    async def _with_files(self, session: Session) -> Session:
        """Read the attached files that are there."""
        files: dict[str, bytes] = {}
        for part in (part for one in (*session.messages, *session.tree) for part in one.files):
            with suppress(StoreUnavailable):
                files[part.digest] = await self._store.read_file(part.digest)
        return replace(session, files=files)

    async def _with_tree(self, session: Session, *, is_needed: bool) -> Session:
        try:
            stored = await self._store.tree(session.header.session_id)
            names = await self._store.branch_names(session.header.session_id)
        except LMChatError:
            if is_needed:
                raise
            return session
        shown = {message.message_id: message for message in session.messages}
        known = {message.message_id for message in stored}
        tree = [shown.get(message.message_id, message) for message in stored]
        tree += [message for message in session.messages if message.message_id not in known]
        return replace(session, tree=tuple(tree), branch_names=dict(names))

    async def export_file(
        self,
        session: Session,
        path: Path,
        how: ExportAs = BY_NAME,
        *,
        is_forced: bool = False,
        converter: MarkdownPages | None = None,
    ) -> Path:
        """Write a session into a file or folder and return its path; raises `FileRefused`."""
        is_folder = await asyncio.to_thread(path.is_dir)
        how = how if how.form else replace(how, form=MARKDOWN.form if is_folder else form_of(path))
        text = await self.export_text(session, how, converter=converter)
        if is_folder:
            path /= export_name(session, form=how.form)
        await asyncio.to_thread(write_new_file, path, text, is_forced=is_forced)
        return path

    async def export_several(
        self, ids: Sequence[str], folder: Path, how: ExportAs = MARKDOWN, *, is_forced: bool = False
    ) -> Exported:
        async with aclosing(MarkdownPages()) as converter:
            return await self._export_each(ids, folder, how, converter, is_forced=is_forced)

    async def _export_each(
        self,
        ids: Sequence[str],
        folder: Path,
        how: ExportAs,
        converter: MarkdownPages,
        *,
        is_forced: bool,
    ) -> Exported:
        paths: list[Path] = []
        refused: list[tuple[str, LMChatError]] = []
        for number, session_id in enumerate(ids, 1):
            try:
                session = await self._store.open_session(session_id)
                path = folder / export_name(session, form=how.form)
                written = await self.export_file(
                    session, path, how, is_forced=is_forced, converter=converter
                )
                paths.append(written)
            except LMChatError as error:
                refused.append((session_id, error))
                if isinstance(error, FileRefused) and not isinstance(error, FileExists):
                    untried = len(ids) - number
                    return Exported(paths=tuple(paths), refused=tuple(refused), untried=untried)
        return Exported(paths=tuple(paths), refused=tuple(refused))


async def _pages_of(session: Session, converter: MarkdownPages | None) -> dict[str, str]:
    if converter is not None:
        return await converter.html_of(session)
    async with aclosing(MarkdownPages()) as own:
        return await own.html_of(session)


def form_of(path: Path) -> str:
    """Return the format for the ending of a file's name, Markdown without one; raises `WrongUse`."""
    if (form := _FORMS.get(path.suffix.lower())) is not None:
        return form
    words = f"Sessions cannot be exported as {safe_line(path.suffix, limit=20)}"
    hint = "For another ending, choose the format with: lmchat export --format FORMAT"
    raise WrongUse(f"{words}; use .md, .json, .html or .txt.", hint=hint)
