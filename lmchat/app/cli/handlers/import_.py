"""`lmchat import`: chats out of files, out of a pipe, or of other programs on this machine."""

from __future__ import annotations

from msgspec.structs import asdict

from lmchat.app.cli.context import Context, confirmed
from lmchat.app.cli.handlers.sessions import header_json
from lmchat.app.cli.read_prompt import piped_data
from lmchat.app.commands.import_lines import loss_lines, result_lines
from lmchat.app.terminal.output import has_piped_input
from lmchat.base.errors import FileRefused, WrongUse
from lmchat.base.leaf import leaf
from lmchat.base.safe_text import safe_line
from lmchat.core.formats.programs import AUTO
from lmchat.core.formats.reader import LARGEST_RECORD, STDIN
from lmchat.core.library.importer import Importer, ImportOutcome
from lmchat.core.library.stores import open_saved

_ALL = "all"
_BYTES_PER_MB = 1024 * 1024


async def import_files(context: Context) -> int:
    """Import the named files, or after a question the chats of other programs; report.

    Return 1 if a file was refused, else 0; the error of a single refused file is raised.
    """
    options = context.options
    next_step = "Name files, or import the chats of other programs with --from all."
    if options.files and options.source == _ALL:
        raise WrongUse("--from all takes no files.", next_step=next_step)
    if not options.files and options.source == AUTO:
        raise WrongUse("No file is named.", next_step=next_step)

    stdin = None
    if STDIN in options.files:
        if not has_piped_input():
            raise WrongUse("Nothing is piped in.", next_step=next_step)
        stdin = await piped_data(context, LARGEST_RECORD)
        if len(stdin) > LARGEST_RECORD:
            raise FileRefused(
                f"The input from {STDIN} is larger than {LARGEST_RECORD // _BYTES_PER_MB} MB.",
                next_step="Split it into smaller files.",
            )

    outcome = ImportOutcome(is_trial=options.dry_run)
    async with open_saved(context.paths, context.note) as store:
        importer = Importer(store, programs=leaf("imports:PROGRAMS", ()), environ=context.environ)
        if options.files:  # `AUTO` tells formats by content
            sources = [(options.source, [*options.files])]
        else:
            sources = await _chats_of_programs(context, importer)
        for source, files in sources:
            await importer.import_files(
                files,
                outcome,
                stdin=stdin,
                source=source,
                report_progress=context.output.show_progress,
            )

    # the error of the command, not a line of a report
    if len(outcome.refused) == 1 and not outcome.chats:
        _, error = outcome.refused[0]
        raise error
    _report(context, outcome)
    return 1 if outcome.refused else 0


async def _chats_of_programs(context: Context, importer: Importer) -> list[tuple[str, list[str]]]:
    """Print where other programs keep chats; return format and places.

    The programs are those of `--from`. A place is a list of one path. Empty without places, or
    without the user's consent.
    """
    options = context.options
    note = context.output.note
    places: list[tuple[str, list[str]]] = []
    for place in await importer.places():
        if options.source in (_ALL, place.program.source):
            note(f"{place.program.name}: {safe_line(str(place.path))}")
            places.append((place.program.source, [str(place.path)]))
    if not places:
        note("No chats of other programs were found. To name files: lmchat import PATH")
        return []
    if options.dry_run:
        return places
    if await confirmed(context, "Import these chats?", "These chats were not imported."):
        return places
    return []


def _report(context: Context, outcome: ImportOutcome) -> None:
    """Print the results of an import or a trial; the last line has the ids, for scripts."""
    output = context.output
    if output.is_json:
        output.print_json(_outcome_json(outcome))
        return
    if outcome.chats:  # else an empty line would be printed
        output.print_lines(result_lines(outcome))
    for line in loss_lines(outcome):
        output.note(line)
    for _, error in outcome.refused:
        output.print_error(error)
    # each once, without chats that were imported before and are in the trash
    headers = [chat.header for chat in outcome.chats if chat.header.deleted_at is None]
    ids = dict.fromkeys(header.session_id for header in headers)
    if ids and not outcome.is_trial:
        output.print_lines([" ".join(ids)])


def _outcome_json(outcome: ImportOutcome) -> dict[str, object]:
    """Return the document of `--json`: chats, and files that were not imported.

    The chats are new ones and known ones. `new_messages` counts those that were not there, and
    `beside` those of the file on other branches than its shown one. `skipped` lists what could not
    be read.
    """
    chats = [
        {
            "file": chat.file,
            "outcome": chat.outcome,
            **header_json(chat.header),
            "sampling": chat.header.sampling,
            "new_messages": chat.new_messages,
            "beside": chat.branch_messages,
            "skipped": chat.skipped,
        }
        for chat in outcome.chats
    ]
    refused = [
        {"file": file, "error": error.kind, "message": error.message}
        for file, error in outcome.refused
    ]
    skipped = [{"file": file, **asdict(part)} for file, part in outcome.skipped]
    return {"object": "list", "data": chats, "skipped": skipped, "refused": refused}
