"""`lmchat export`: sessions as text, on stdout or in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmchat.cli.context import Context
from lmchat.cli.store import open_library
from lmchat.errors import LMChatError, WrongUse
from lmchat.files.disk import expanded_path
from lmchat.formats.exporting import export_name
from lmchat.library import ExportAs
from lmchat.terminal.output import Output

_MAX_REFUSALS = 10  # that are printed


async def export(context: Context) -> int:
    """Print a session, or write one session into a file or all into a folder; return the exit code.

    The session is the one of the argument, else that of `-r`, else the last one. Raises `WrongUse`
    if `--all` is used together with a session or a file.
    """
    options, output = context.options, context.output
    if options.all_into and (options.output or options.id):
        raise WrongUse("--all exports every session: leave out ID and -o.")
    form = options.format
    if not form and options.all_into:
        form = "md"
    elif not form and options.output is None:  # a file gets the format of its name
        form = "json" if options.json else "md"
    export_as = ExportAs(
        form=form,
        with_reasoning=options.reasoning,
        with_branches=options.branches,
    )
    paths: list[Path] = []
    async with open_library(context) as library:
        if options.all_into:
            folder = expanded_path(options.all_into)
            refused: list[tuple[str, LMChatError]] = []
            for session_id in await library.every_id():
                try:
                    session = await library.store.open_session(session_id)
                    path = folder / export_name(session, form=export_as.form)
                    paths.append(
                        await library.export_file(session, path, export_as, is_forced=options.force)
                    )
                except LMChatError as error:  # the others are still exported
                    refused.append((session_id, error))
            return _report(output, paths, refused)
        session_id = await library.store.find(options.id or options.resume or "last")
        session = await library.store.open_session(session_id)
        if options.output is not None:
            written_path = await library.export_file(
                session, expanded_path(options.output), export_as, is_forced=options.force
            )
            return _report(output, [written_path], [])

        text = await library.export_text(session, export_as)
        if export_as.form == "json":
            output.print_safe(text)
        elif output.is_json:  # the text of another format is a field of a JSON document
            output.print_json({"id": session_id, "format": export_as.form, "text": text})
        else:
            output.print_text(text)
        return 0


def _report(
    output: Output, paths: Sequence[Path], refused: Sequence[tuple[str, LMChatError]]
) -> int:
    """Print which files were written and which sessions were not.

    Return 1 if a session was not written, else 0. Reasons are printed for the first few only.
    """
    failed_count = len(refused)
    for session_id, error in refused[:_MAX_REFUSALS]:
        output.note(f"{session_id}: {error.message_with_hint}")
    if output.is_json:
        output.print_json({"files": paths, "failed": failed_count})
        return 1 if failed_count else 0

    for path in paths:
        output.note(f"Wrote {path}")
    if failed_count:
        sessions = "session was" if failed_count == 1 else "sessions were"
        output.note(f"{failed_count} {sessions} not written.")
    elif not paths:
        output.note("There are no sessions to export.")
    return 1 if failed_count else 0
