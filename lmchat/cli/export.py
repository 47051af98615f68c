"""`lmchat export`: sessions as text, on stdout or in files."""

from __future__ import annotations

from lmchat.cli.context import Context
from lmchat.cli.wiring import open_library
from lmchat.errors import WrongUse
from lmchat.files import path_of
from lmchat.services.exporting import ExportAs, Exported
from lmchat.services.library import Library
from lmchat.text import safe_line

_MOST_TOLD = 10  # refused sessions that are named


async def export(context: Context) -> int:
    """Print a session, or write one or all into files."""
    async with open_library(context) as library:
        return await export_from(library, context)


async def export_from(library: Library, context: Context) -> int:
    """Export sessions of a store that is open."""
    options, output = context.options, context.output
    if options.all_into and (options.output or options.id):
        raise WrongUse("--all exports every session: leave out ID and -o.")
    form = options.format
    if not form and (options.all_into or options.output is None):  # else by the name of the file
        form = "json" if options.json and not options.all_into else "md"
    how = ExportAs(form=form, with_reasoning=options.reasoning, with_branches=options.branches)
    exporter, is_forced = library.exporter, options.force
    if options.all_into:
        folder, ids = path_of(options.all_into), await library.every_id()
        return _report(
            context, await exporter.export_several(ids, folder, how, is_forced=is_forced)
        )
    session_id = await library.store.find(options.id or options.resume or "last")
    session = await library.store.open_session(session_id)
    if options.output is not None:
        path = await exporter.export_file(
            session, path_of(options.output), how, is_forced=is_forced
        )
        return _report(context, Exported(paths=(path,), refused=()))
    text = await exporter.export_text(session, how)
    if options.json and form != "json":
        output.document({"id": session_id, "format": form, "text": text})
    else:
        (output.raw if form == "json" else output.text)(text)
    return 0


def _report(context: Context, exported: Exported) -> int:
    failed = len(exported.refused) + exported.untried
    for session_id, error in exported.refused[:_MOST_TOLD]:
        context.output.note(f"{session_id}: {safe_line(error.words)}")
    if context.output.is_json:
        context.output.document({"files": exported.paths, "failed": failed})
    else:
        for path in exported.paths:
            context.output.note(f"Wrote {path}")
        if failed:
            context.output.note(
                f"{failed} {'session was' if failed == 1 else 'sessions were'} not written."
            )
        elif not exported.paths:
            context.output.note("There are no sessions to export.")
    return 1 if failed else 0
