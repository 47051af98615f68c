"""`lmchat import`: chats out of files, or out of a pipe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from lmchat.cli.context import Context
from lmchat.cli.output import SHORT_ID, can_ask, consents, from_stdin
from lmchat.cli.sessions import header_json
from lmchat.cli.wiring import open_store
from lmchat.errors import FileRefused, WrongUse
from lmchat.formats.sources import LARGEST_BYTES
from lmchat.machine.other_programs import ChatPlace, chat_places
from lmchat.services.importing import Done, Imported, Importer, sentence, summary
from lmchat.text import safe_line
from lmchat.threads import run_abandonable

_STDIN = "-"
_ALL = "all"
_INTERRUPTED = 130
_MOST_LISTED = 50  # sessions, or notes, that are listed one by one


async def import_files(context: Context) -> int:
    """Import each file, or what other programs have on this machine, and report the result."""
    options, output = context.options, context.output
    if options.temporary:
        raise WrongUse(
            "--temporary saves nothing, so it cannot import.",
            hint="Use --dry-run to check the files.",
        )
    if options.source == (_ALL if options.files else "auto"):
        hint = "Name files, or import the chats of other programs with --from all."
        raise WrongUse("--from all takes no files." if options.files else "Which file?", hint=hint)

    def find() -> list[ChatPlace]:
        found = chat_places(context.environ, Path.home())
        return [place for place in found if options.source in (_ALL, place.source)]

    piped = {_STDIN: await run_abandonable(_piped)} if _STDIN in options.files else {}
    done = Done()
    is_stopped = False
    async with open_store(context) as store:
        importer = Importer(store, find=find, tell=output.live)
        try:
            named = [(options.source, options.files)]
            wanted = named if options.files else await _wanted(context, importer)
            for source, names in wanted:
                await importer.bring(
                    names, piped=piped, source=source, is_trial=options.dry_run, into=done
                )
        except asyncio.CancelledError:
            is_stopped = True
    output.live("")
    if not done.imported and len(done.refused) == 1 and not done.untried:
        raise done.refused[0][1]
    if output.is_json:
        output.document(_json(context, done))
    else:
        _report(context, done)
    return _INTERRUPTED if is_stopped else 1 if done.refused else 0


async def _wanted(context: Context, importer: Importer) -> list[tuple[str, Sequence[str]]]:
    """Tell what other programs have, and ask; return the format and the files of each program."""
    found = await importer.survey()
    context.output.live("")
    if not found:
        context.output.note(
            "No chats of other programs were found. To name files: lmchat import PATH"
        )
        return []
    for one in found:
        context.output.note(one.words)
    if not (context.options.yes or context.options.dry_run):
        if all(one.is_known for one in found):
            context.output.note("All of them were imported before.")
            return []
        if not can_ask():
            raise WrongUse("These chats were not imported.", hint="Confirm with --yes.")
        if not await consents("Import these chats?"):
            return []
    return [(one.source, one.paths) for one in found]


def _piped() -> bytes:
    if sys.stdin is None:
        raise WrongUse("Standard input is not available.", hint="Pass the name of a file.")
    try:
        data = from_stdin(lambda file: file.read(LARGEST_BYTES + 1))
    except OSError as error:
        raise FileRefused(f"{_STDIN} cannot be read: {error.strerror}.") from error
    if len(data) > LARGEST_BYTES:
        raise FileRefused(
            f"The input from {_STDIN} is larger than {LARGEST_BYTES >> 20} MB.",
            hint="Split it into smaller files.",
        )
    return data


def _report(context: Context, done: Done) -> None:
    options, is_short = context.options, len(done.imported) <= _MOST_LISTED
    notes: list[str] = []
    for name, one in done.imported:
        if is_short:
            words = sentence(one, is_trial=options.dry_run)
            context.output.text(f"{safe_line(name)}: {words}{_next_step(one)}")
        notes += [f"{name}, {skipped.where}: {skipped.reason}." for skipped in one.skipped]
    if len(done.imported) > 1:
        sources = {one.header.tags for one in done.chats if not (options.files or one.is_there)}
        context.output.text(
            f"{summary(done.chats, programs=len(sources), is_trial=options.dry_run)}."
        )
    for words in notes[:_MOST_LISTED]:
        context.output.note(words)
    if len(notes) > _MOST_LISTED:
        context.output.note(f"{len(notes) - _MOST_LISTED} more notes of this kind; --json has all.")
    if done.unknown:
        context.output.note(f"{len(done.unknown)} other files have no chats that lmchat can read.")
    for _, error in done.refused:
        context.output.failure(error)
    if done.untried:
        context.output.note(f"Also not imported: {', '.join(done.untried)}")
    saved = [one for _, one in done.imported if one.is_there or not options.dry_run]
    ids = [one.header.session_id for one in saved if one.header.deleted_at is None]
    if ids:
        context.output.text(" ".join(ids))


def _next_step(one: Imported) -> str:
    short = one.header.session_id[:SHORT_ID]
    if not one.is_there:
        return ""
    if one.header.deleted_at is not None:
        return f"; `lmchat sessions restore {short}` restores it."
    return f", as {short}."


def _json(context: Context, done: Done) -> dict[str, object]:
    return {
        "object": "list",
        "data": [
            {
                "file": name,
                "outcome": _outcome(one, is_trial=context.options.dry_run),
                **header_json(one.header),
                "beside": one.beside,
                "skipped": one.skipped,
            }
            for name, one in done.imported
        ],
        "refused": [
            {"file": name, "error": error.kind, "message": error.message}
            for name, error in done.refused
        ],
        "untried": done.untried,
    }


def _outcome(one: Imported, *, is_trial: bool) -> str:
    if one.is_there:
        return "present" if one.header.deleted_at is None else "in trash"
    return "would be imported" if is_trial else "imported"
