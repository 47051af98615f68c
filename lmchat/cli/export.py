"""`lmchat export`: sessions as text, on stdout or in files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from lmchat.cli.parts import Parts
from lmchat.cli.wiring import make_library, make_store
from lmchat.domain.session import Session
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.services.library import Library
from lmchat.typed_path import path_of


async def export(parts: Parts) -> int:
    """Print a session, or write one or all into files."""
    options = parts.options
    if options.all_into and (options.output or options.id):
        raise WrongUse("--all takes every session: leave out ID and -o.")
    async with aclosing(make_store(parts)) as store:
        library = make_library(store)
        if options.all_into:
            return await _export_all(parts, library)
        session = await store.open_session(await store.find(options.id or options.resume or "last"))
        if options.output is not None:
            return await _export_one(parts, library, session)
        form = options.format or ("json" if options.json else "md")
        text = await library.export_text(session, form=form, with_reasoning=options.reasoning)
    if options.json and form != "json":
        parts.output.document({"id": session.header.session_id, "format": form, "text": text})
    elif form == "json":
        parts.output.raw_document(text)
    else:
        parts.output.text(text)
    return 0


async def _export_one(parts: Parts, library: Library, session: Session) -> int:
    path = await library.export_file(
        session,
        path_of(parts.options.output or ""),
        form=parts.options.format,
        with_reasoning=parts.options.reasoning,
        is_forced=parts.options.force,
    )
    return _told(parts, [path], 0)


async def _export_all(parts: Parts, library: Library) -> int:
    options = parts.options
    exported = await library.export_all(
        path_of(options.all_into or ""),
        form=options.format or "md",
        with_reasoning=options.reasoning,
        is_forced=options.force,
    )
    for session_id, error in exported.refused:
        parts.output.note(f"{session_id}: {safe_line(error.message)}")
    return _told(parts, exported.paths, len(exported.refused))


def _told(parts: Parts, paths: Sequence[Path], failed: int) -> int:
    if parts.output.is_json:
        parts.output.document({"files": [str(path) for path in paths], "failed": failed})
    else:
        for path in paths:
            parts.output.note(f"Wrote {path}")
        if failed:
            parts.output.note(f"{failed} sessions were not written.")
    return 1 if failed else 0
