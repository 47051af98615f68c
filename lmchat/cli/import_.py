"""`lmchat import`: chats out of files, out of a pipe, or of other programs on this machine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from lmchat.cli.context import Context
from lmchat.cli.options import ParsedOptions
from lmchat.cli.sessions import header_json
from lmchat.cli.store import open_store
from lmchat.errors import FileRefused, WrongUse
from lmchat.formats.importing import STDIN
from lmchat.formats.programs import AUTO, ChatPlace, chat_places
from lmchat.formats.sources import LARGEST_BYTES
from lmchat.importing import (
    ImportedChat,
    Importer,
    ImportOutcome,
    loss_lines,
    result_lines,
)
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.terminal.output import ask_yes_no, can_ask, from_stdin

_ALL = "all"
_BYTES_PER_MB = 1024 * 1024
_INTERRUPTED = 130  # exit code

_Sources = Sequence[tuple[str, Sequence[str]]]
"""Formats or programs, as `--from` names them, each with its files."""


async def import_files(context: Context) -> int:
    """Import the named files, or the chats of other programs, and report the result.

    Return 130 if a signal stopped the import, 1 if a file was refused, else 0. If the only result
    is one refused file, its error is raised instead.
    """
    output = context.output
    _require_sources(context.options)
    outcome = await _import(context)
    output.show_progress("")  # clears the line of the progress before the report

    # a single file that was refused is the error of the command, not one line of a report
    is_only_refusal = len(outcome.refused) == 1 and not outcome.chats
    if is_only_refusal:
        _, error = outcome.refused[0]
        raise error
    if output.is_json:
        output.print_json(_outcome_json(context, outcome))
    else:
        _report(context, outcome)
    if outcome.is_stopped:
        return _INTERRUPTED
    return 1 if outcome.refused else 0


def _require_sources(options: ParsedOptions) -> None:
    """Raise `WrongUse` for options that cannot import anything.

    These are `--temporary`, `--from all` together with files, neither files nor a program, and an
    empty name, which as a path would be the current folder.
    """
    if options.temporary:
        message = "--temporary saves nothing, so it cannot import."
        raise WrongUse(message, hint="Use --dry-run to check the files.")
    message = ""
    if options.files and options.source == _ALL:
        message = "--from all takes no files."
    elif not options.files and options.source == AUTO:
        message = "Which file?"
    elif "" in options.files:
        message = "The name of a file is empty."
    if message:
        hint = "Name files, or import the chats of other programs with --from all."
        raise WrongUse(message, hint=hint)


async def _import(context: Context) -> ImportOutcome:
    """Import what the command names and return the outcome.

    If no files are named, those of other programs are imported, after the user has confirmed it. A
    signal stops the import: sessions that are imported so far stay, and the outcome says so.
    """
    options = context.options

    def find_places() -> list[ChatPlace]:
        """Return where the programs that `--from` names keep chats on this machine."""
        places = chat_places(context.environ, Path.home())
        return [place for place in places if options.source in (_ALL, place.program.source)]

    stdin = None
    if STDIN in options.files:
        stdin = await run_abandonable(_read_stdin)
    outcome = ImportOutcome()
    async with open_store(context) as store:
        importer = Importer(store, find=find_places, report_progress=context.output.show_progress)
        sources: _Sources = [(options.source, options.files)]
        try:
            if not options.files:
                sources = await _confirmed_places(context, importer)
            for source, files in sources:
                await importer.import_files(
                    files, stdin=stdin, source=source, is_trial=options.dry_run, into=outcome
                )
        except asyncio.CancelledError:
            outcome.is_stopped = True
    return outcome


async def _confirmed_places(context: Context, importer: Importer) -> _Sources:
    """Print where other programs keep chats, ask whether to import them, and return the files.

    `--yes` and `--dry-run` replace the question. Return nothing if no chats were found, or if the
    user says no. Raises `WrongUse` without a terminal to ask at.
    """
    places = await importer.places()
    if not places:
        context.output.note(
            "No chats of other programs were found. To name files: lmchat import PATH"
        )
        return []
    for place in places:
        context.output.note(f"{place.program.name}: {safe_line(str(place.path))}")
    if not (context.options.yes or context.options.dry_run):
        if not can_ask():
            raise WrongUse("These chats were not imported.", hint="Confirm with --yes.")
        if not await ask_yes_no("Import these chats?"):
            return []
    return [(place.program.source, [str(place.path)]) for place in places]


def _read_stdin() -> bytes:
    """Return all bytes of stdin. Blocks.

    Raises `WrongUse` if this process has no stdin, and `FileRefused` if it cannot be read or is too
    large.
    """
    if sys.stdin is None:
        raise WrongUse("Standard input is not available.", hint="Pass the name of a file.")
    try:
        # one byte more than is allowed shows that the input is too large
        data = from_stdin(lambda file: file.read(LARGEST_BYTES + 1))
    except OSError as error:
        raise FileRefused(f"{STDIN} cannot be read: {error.strerror}.") from error
    if len(data) > LARGEST_BYTES:
        raise FileRefused(
            f"The input from {STDIN} is larger than {LARGEST_BYTES // _BYTES_PER_MB} MB.",
            hint="Split it into smaller files.",
        )
    return data


def _report(context: Context, outcome: ImportOutcome) -> None:
    """Print the outcome: a line for each chat, a sum, notes on losses, and session ids.

    The ids, on one line, are those of the chats that are sessions now and not in the trash.
    """
    options, output = context.options, context.output
    output.print_lines(result_lines(outcome, is_trial=options.dry_run))
    for line in loss_lines(outcome):
        output.note(line)
    for _, error in outcome.refused:
        output.print_error(error)

    saved_chats = [chat for chat in outcome.chats if chat.was_known or not options.dry_run]
    ids = [chat.header.session_id for chat in saved_chats if chat.header.deleted_at is None]
    if ids:
        output.print_lines([" ".join(ids)])


def _outcome_json(context: Context, outcome: ImportOutcome) -> dict[str, object]:
    """Return the document of `--json`: a list of the chats, and files that were not imported.

    The chats are new ones and those that were imported before. `beside` is the number of messages
    on other branches than the shown one, `skipped` lists the parts of a chat, or of a file, that
    could not be read.
    """
    chats = [
        {
            "file": chat.file,
            "outcome": _outcome_word(chat, is_trial=context.options.dry_run),
            **header_json(chat.header),
            "beside": chat.branch_messages,
            "skipped": chat.skipped,
        }
        for chat in outcome.chats
    ]
    refused = [
        {"file": file, "error": error.kind, "message": error.message}
        for file, error in outcome.refused
    ]
    skipped = [
        {"file": file, "where": part.where, "reason": part.reason}
        for file, part in outcome.left_out
    ]
    return {"object": "list", "data": chats, "skipped": skipped, "refused": refused}


def _outcome_word(chat: ImportedChat, *, is_trial: bool) -> str:
    """Return the word for what became of a chat, which scripts read in `--json`."""
    if chat.was_known:
        return "present" if chat.header.deleted_at is None else "in trash"
    return "would be imported" if is_trial else "imported"
