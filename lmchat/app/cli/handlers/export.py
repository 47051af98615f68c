"""`lmchat export`: sessions as text, on stdout or in files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lmchat.app.cli.context import Context
from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.files.disk import expanded_path
from lmchat.base.units import counted
from lmchat.core.library.library import ExportAs, Library
from lmchat.core.library.stores import open_saved


async def export(context: Context) -> int:
    """Print a session, or write one session into a file or all into a folder; return the exit code.

    The session is the one of the argument, else that of `-r`, else the last one. Raises `WrongUse`
    if `--all` is used together with a session or a file.
    """
    options = context.options
    output = context.output
    if options.all_into and (options.output or options.id):
        raise WrongUse("--all exports every session: leave out ID and -o.")
    if options.all_into == "-":
        raise WrongUse(
            "--all writes files, which stdout cannot take.",
            next_step="Name a folder: lmchat export --all DIR",
        )
    form = options.format
    if not form and options.output_file is None:  # with `-o`, the file name decides
        # with `--all`, `--json` asks for a list of the files, and not for files in JSON
        form = "json" if options.json and not options.all_into else "md"
    export_as = ExportAs(
        form=form, with_reasoning=options.reasoning, with_branches=options.branches
    )
    paths: list[Path] = []
    failed_count = 0
    async with open_saved(context.paths, context.note) as store:
        library = Library(store)
        write = partial(
            library.export_file,
            export_as=export_as,
            is_forced=options.force,
            may_stream=True,
            makes_folder=bool(options.all_into),
        )
        if options.all_into:
            folder = expanded_path(options.all_into)
            for header in await store.list_sessions():
                try:
                    session = await store.open_session(header.session_id)
                    paths.append(await write(session, folder))
                except LMChatError as error:  # the others are still exported
                    failed_count += 1
                    output.note(f"{header.session_id}: {error.message_with_next_step}")
        else:
            session_id = await store.find_id(options.id or options.resume or "last")
            session = await store.open_session(session_id)
            if options.output_file is None:
                text = await library.export_text(session, export_as)
                if form == "json":
                    output.print_safe(text)
                elif output.is_json:  # another format is a field of a JSON document
                    output.print_json({"id": session_id, "format": form, "text": text})
                else:
                    output.print_text(text)
                library.require_files()
                return 0
            paths.append(await write(session, expanded_path(options.output_file)))

    if output.is_json:
        output.print_json({"files": paths, "failed": failed_count})
    else:
        for path in paths:
            output.note(f"Wrote {path}")
        if failed_count:
            output.note(f"Not written, or not whole: {counted(failed_count, 'session')}.")
        elif not paths:
            output.note("There are no sessions to export.")
    return 1 if failed_count else 0
