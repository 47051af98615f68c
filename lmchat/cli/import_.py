"""`lmchat import`: chats out of files, or out of a pipe."""

from __future__ import annotations

import sys

from lmchat.cli.context import Context
from lmchat.cli.output import SHORT_ID, from_stdin
from lmchat.cli.sessions import header_json
from lmchat.cli.wiring import open_store
from lmchat.errors import FileRefused, WrongUse
from lmchat.formats.sources import LARGEST_BYTES
from lmchat.services.importing import Done, Imported, Importer, sentence
from lmchat.text import safe_line
from lmchat.threads import run_abandonable

_STDIN = "-"
_MOST_TOLD = 10  # left-out entries of one file that are named


async def import_files(context: Context) -> int:
    """Import each file and report the result."""
    options = context.options
    if options.temporary:
        raise WrongUse(
            "--temporary saves nothing, so it cannot import.", hint="Use --dry-run to check the files."
        )
    piped = {_STDIN: await run_abandonable(_piped)} if _STDIN in options.files else {}
    async with open_store(context) as store:
        done = await Importer(store).bring(options.files, piped=piped, is_trial=options.dry_run)
    if not done.imported and len(done.refused) == 1 and not done.untried:
        raise done.refused[0][1]
    if context.output.is_json:
        context.output.document(_json(context, done))
    else:
        _report(context, done)
    return 1 if done.refused else 0


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
    for name, one in done.imported:
        words = sentence(one, is_trial=context.options.dry_run)
        context.output.text(f"{safe_line(name)}: {words}{_next_step(one)}")
        for words in _left_out(one):
            context.output.note(f"{name}, {words}")
    for _, error in done.refused:
        context.output.failure(error)
    if done.untried:
        context.output.note(f"Also not imported: {', '.join(done.untried)}")
    saved = [one for _, one in done.imported if one.is_there or not context.options.dry_run]
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


def _left_out(one: Imported) -> list[str]:
    words = [f"{skipped.where}: {skipped.reason}." for skipped in one.skipped[:_MOST_TOLD]]
    more = len(one.skipped) - _MOST_TOLD
    return [*words, f"and {more} more that are missing or incomplete."] if more > 0 else words


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
            {"file": name, "error": error.kind, "message": error.message} for name, error in done.refused
        ],
        "untried": done.untried,
    }


def _outcome(one: Imported, *, is_trial: bool) -> str:
    if one.is_there:
        return "present" if one.header.deleted_at is None else "in trash"
    return "would be imported" if is_trial else "imported"
