"""`lmchat sessions` and `lmchat search`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict

from lmchat.cli.context import Context
from lmchat.cli.output import SHORT_ID, minute, table
from lmchat.cli.questions import can_ask, consents
from lmchat.cli.wiring import open_library, open_store
from lmchat.domain.message import Role
from lmchat.domain.session import HOLDERS, SearchHit, SessionHeader
from lmchat.errors import SessionNotFound, WrongUse
from lmchat.services.exporting import ExportAs
from lmchat.services.library import Library
from lmchat.text import safe_line


async def list_sessions(context: Context) -> int:
    """Print the sessions, newest first."""
    async with open_store(context) as store:
        headers = await store.list_sessions(is_trash=context.options.trash)
    head = ("ID", "DELETED" if context.options.trash else "CHANGED", "MSGS", "MODEL", "TITLE")
    return context.output.listing(
        [header_json(header) for header in headers],
        lambda: table(head, [_row(header) for header in headers]),
        "The trash is empty." if context.options.trash else "There are no saved sessions.",
    )


def _row(header: SessionHeader) -> tuple[str, ...]:
    time = minute(header.deleted_at or header.updated_at)
    title = (header.title or "Untitled") + (" (fork)" if header.parent_id else "")
    return header.session_id[:SHORT_ID], time, str(header.message_count), header.model, title


async def show(context: Context) -> int:
    """Print a session as text, or all of it as JSON."""
    how = ExportAs(form="json" if context.output.is_json else "txt", with_reasoning=True)
    async with open_library(context) as library:
        session = await library.store.open_session(await library.store.find(context.options.id))
        text = await library.exporter.export_text(session, how)
    (context.output.raw if context.output.is_json else context.output.text)(text)
    return 0


async def rename(context: Context) -> int:
    """Change the title of a session."""
    if not context.options.title.strip():
        raise WrongUse("The title is empty.", hint="Example: lmchat sessions rename last Garden")
    async with open_library(context) as library:
        return await rename_in(library, context)


async def rename_in(library: Library, context: Context) -> int:
    """Change the title of a session of a store that is open."""
    header = await library.rename(
        await library.store.find(context.options.id), context.options.title
    )
    words = f"{header.session_id[:SHORT_ID]} is now “{safe_line(header.title)}”."
    return context.output.result(header_json(header), words)


async def delete(context: Context) -> int:
    """Put a session into the trash."""
    async with open_library(context) as library:
        header = await library.delete(await library.store.find(context.options.id))
    step = f"`lmchat sessions restore {header.session_id[:SHORT_ID]}` restores it"
    return context.output.result(header_json(header), f"{_named(header)} is in the trash; {step}.")


async def restore(context: Context) -> int:
    """Take a session out of the trash; `last` is the one that was deleted last."""
    wanted = context.options.id
    async with open_library(context) as library:
        header = (
            None if wanted == "last" else await library.restore(await library.store.find(wanted))
        )
        header = header or await library.undo_delete()
    if header is None:
        raise SessionNotFound("The trash is empty.", hint="`lmchat sessions` lists the sessions.")
    return context.output.result(header_json(header), f"{_named(header)} is restored.")


async def purge(context: Context) -> int:
    """Remove a session, or everything in the trash, after confirmation."""
    async with open_library(context) as library:
        wanted = await library.trash()
        if context.options.id:
            session_id = await library.store.find(context.options.id)
            wanted = ((await library.store.open_session(session_id, count=1)).header,)
        gone = wanted if wanted and await _may_purge(context, wanted) else ()
        if gone:
            await library.purge(*(header.session_id for header in gone))
    words = "\n".join(f"{_named(header)} was deleted permanently." for header in gone)
    if context.options.id and gone:
        return context.output.result(header_json(gone[0]), words)
    nothing = "Nothing was deleted." if wanted else "The trash is empty."
    return context.output.listing([header_json(header) for header in gone], lambda: words, nothing)


async def _may_purge(context: Context, wanted: Sequence[SessionHeader]) -> bool:
    """Ask at a terminal; raises `WrongUse` without a terminal and `--yes`."""
    if context.options.yes:
        return True
    what = _named(wanted[0]) if len(wanted) == 1 else f"{len(wanted)} sessions"
    if not can_ask():
        raise WrongUse(f"Deleting {what} cannot be undone.", hint="Confirm with --yes.")
    return await consents(f"Delete {what} permanently?")


def header_json(header: SessionHeader) -> dict[str, object]:
    """Return the JSON form of a session header."""
    return {
        "id": header.session_id,
        "title": header.title,
        "created_at": header.created_at,
        "updated_at": header.updated_at,
        "deleted_at": header.deleted_at,
        "model": header.model,
        "endpoint": header.endpoint,
        "messages": header.message_count,
        "pinned": header.is_pinned,
        "archived": header.is_archived,
        "tags": list(header.tags),
        "forked_from": header.parent_id,
    }


def _named(header: SessionHeader) -> str:
    return f"{header.session_id[:SHORT_ID]} “{safe_line(header.title) or 'Untitled'}”"


async def search(context: Context) -> int:
    """Print where words occur: whole words first, then parts of words."""
    async with open_library(context) as library:
        return await search_in(library, context)


async def search_in(library: Library, context: Context) -> int:
    """Search a store that is open."""
    hits = await library.store.search(" ".join(context.options.query), limit=context.options.limit)
    return context.output.listing(
        [{name: value for name, value in asdict(hit).items() if name != "words"} for hit in hits],
        lambda: "\n".join(_text(hit) for hit in hits),
        "Nothing found.",
    )


def _text(hit: SearchHit) -> str:
    holder = HOLDERS.get(hit.kind, "")
    who = "" if holder and hit.role in ("", Role.TOOL) else hit.model or hit.role
    columns = (
        hit.session_id[:SHORT_ID],
        minute(hit.created_at),
        ", ".join(word for word in (safe_line(who), holder) if word),
        safe_line(hit.title),
    )
    match = f"[{safe_line(hit.match)}]" if hit.match else ""
    around = f"{safe_line(hit.before)} {match} {safe_line(hit.after)}"
    return f"{'  '.join(columns)}\n    {around.strip()}"
