"""`lmchat export`: sessions as text, on stdout or in files."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.cli.context import Context
from lmchat.cli.wiring import make_library, open_store
from lmchat.errors import WrongUse
from lmchat.files import path_of
from lmchat.services.exporting import ExportAs, Exported
from lmchat.services.library import Library
from lmchat.text import safe_line

_MOST_TOLD = 10  # refused sessions that are named


async def export(context: Context) -> int:
    """Print a session, or write one, several or all into files."""
    options = context.options
    if options.all_into and (options.output or options.ids):
        raise WrongUse("--all takes every session: leave out ID and -o.")
    if len(options.ids) > 1 and not options.output:
        raise WrongUse("Several sessions go into a folder.", hint="Name it with -o.")
    async with open_store(context) as store:
        return await _export(context, make_library(store))


async def _export(context: Context, library: Library) -> int:
    options = context.options
    if options.all_into:
        return await _into_folder(context, library, options.all_into, await library.every_id())
    ids = [await library.store.find(one) for one in options.ids or (options.resume or "last",)]
    if len(ids) > 1:
        return await _into_folder(context, library, options.output or "", list(dict.fromkeys(ids)))
    if options.output is not None:
        return await _into_file(context, library, options.output, ids[0])
    return await _to_stdout(context, library, ids[0])


async def _to_stdout(context: Context, library: Library, session_id: str) -> int:
    options = context.options
    form = options.format or ("json" if options.json else "md")
    session = await library.store.open_session(session_id)
    text = await library.exporter.export_text(session, _how(context, form))
    if options.json and form != "json":
        context.output.document({"id": session_id, "format": form, "text": text})
    elif form == "json":
        context.output.raw(text)
    else:
        context.output.text(text)
    return 0


async def _into_file(context: Context, library: Library, name: str, session_id: str) -> int:
    options = context.options
    session = await library.store.open_session(session_id)
    how = _how(context, options.format)
    path = await library.exporter.export_file(session, path_of(name), how, is_forced=options.force)
    return _told(context, Exported(paths=(path,), refused=()))


async def _into_folder(context: Context, library: Library, folder: str, ids: Sequence[str]) -> int:
    options = context.options
    how = _how(context, options.format or "md")
    exported = await library.exporter.export_several(ids, path_of(folder), how, is_forced=options.force)
    return _told(context, exported)


def _how(context: Context, form: str) -> ExportAs:
    options = context.options
    return ExportAs(form=form, with_reasoning=options.reasoning, with_branches=options.branches)


def _told(context: Context, exported: Exported) -> int:
    failed = len(exported.refused) + exported.untried
    for session_id, error in exported.refused[:_MOST_TOLD]:
        context.output.note(f"{session_id}: {safe_line(error.words)}")
    if context.output.is_json:
        context.output.document({"files": [str(path) for path in exported.paths], "failed": failed})
    else:
        for path in exported.paths:
            context.output.note(f"Wrote {path}")
        if failed:
            context.output.note(f"{failed} {'session was' if failed == 1 else 'sessions were'} not written.")
    return 1 if failed else 0
