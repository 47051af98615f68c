"""`lmchat sessions` and `lmchat search`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict

from lmchat.cli.context import Context
from lmchat.cli.output import SHORT_ID, Output, local_time, table
from lmchat.cli.questions import ask_yes_no, can_ask
from lmchat.cli.wiring import open_library, open_store
from lmchat.domain.message import Role
from lmchat.domain.session import HIT_KIND_NAMES, SearchHit, SessionHeader
from lmchat.errors import SessionNotFound, WrongUse
from lmchat.services.exporting import ExportAs
from lmchat.services.library import Library


async def list_sessions(context: Context) -> int:
    """Print the sessions, newest first."""
    is_trash = context.options.trash
    async with open_store(context) as store:
        headers = await store.list_sessions(is_trash=is_trash)
    head = ("ID", "DELETED" if is_trash else "CHANGED", "MSGS", "MODEL", "TITLE")
    return context.output.listing(
        [header_json(header) for header in headers],
        lambda: table(head, [_row(header) for header in headers]),
        "The trash is empty." if is_trash else "There are no saved sessions.",
    )


def _row(header: SessionHeader) -> tuple[str, ...]:
    return (
        header.session_id[:SHORT_ID],
        local_time(header.deleted_at or header.updated_at),
        str(header.message_count),
        header.model,
        (header.title or "Untitled") + (" (fork)" if header.parent_id else ""),
    )


async def show(context: Context) -> int:
    """Print a session as text, or all of it as JSON."""
    output = context.output
    async with open_library(context) as library:
        session_id = await library.store.find(context.options.id)
        session = await library.store.open_session(session_id)
        export_as = ExportAs(form="json" if output.is_json else "txt", with_reasoning=True)
        text = await library.exporter.export_text(session, export_as)
    if output.is_json:
        output.raw(text)
    else:
        output.text(text)
    return 0


async def rename(context: Context) -> int:
    """Change the title of a session."""
    options = context.options
    if not options.title.strip():
        raise WrongUse("The title is empty.", hint="Example: lmchat sessions rename last Garden")
    async with open_library(context) as library:
        session_id = await library.store.find(options.id)
        return await rename_session(library, context.output, session_id, options.title)


async def rename_session(library: Library, output: Output, session_id: str, title: str) -> int:
    """Change the title of a session of an open store."""
    header = await library.rename(session_id, title)
    words = f"{header.session_id[:SHORT_ID]} is now “{header.title}”."
    return output.result(header_json(header), words)


async def delete(context: Context) -> int:
    """Put a session into the trash."""
    async with open_library(context) as library:
        header = await library.delete(await library.store.find(context.options.id))
    step = f"`lmchat sessions restore {header.session_id[:SHORT_ID]}` restores it"
    return context.output.result(header_json(header), f"{_named(header)} is in the trash; {step}.")


async def restore(context: Context) -> int:
    """Take a session out of the trash; `last` is the one that was deleted last."""
    header: SessionHeader | None = None
    async with open_library(context) as library:
        if context.options.id != "last":
            header = await library.restore(await library.store.find(context.options.id))
        if header is None:
            header = await library.undo_delete()
    if header is None:
        raise SessionNotFound("The trash is empty.", hint="`lmchat sessions` lists the sessions.")
    return context.output.result(header_json(header), f"{_named(header)} is restored.")


async def purge(context: Context) -> int:
    """Remove a session, or everything in the trash, after confirmation."""
    purged: Sequence[SessionHeader] = ()
    async with open_library(context) as library:
        if context.options.id:
            session_id = await library.store.find(context.options.id)
            wanted = [(await library.store.open_session(session_id, count=1)).header]
        else:
            wanted = list(await library.trash())
        if wanted and await _may_purge(context, wanted):
            await library.purge(*(header.session_id for header in wanted))
            purged = wanted

    lines = [f"{_named(header)} was deleted permanently." for header in purged]
    if context.options.id and purged:
        return context.output.result(header_json(purged[0]), *lines)
    nothing = "Nothing was deleted." if wanted else "The trash is empty."
    return context.output.listing(
        [header_json(header) for header in purged], lambda: lines, nothing
    )


async def _may_purge(context: Context, wanted: Sequence[SessionHeader]) -> bool:
    """Ask at a terminal; raises `WrongUse` without a terminal and `--yes`."""
    if context.options.yes:
        return True
    what = _named(wanted[0]) if len(wanted) == 1 else f"{len(wanted)} sessions"
    if not can_ask():
        raise WrongUse(f"Deleting {what} cannot be undone.", hint="Confirm with --yes.")
    return await ask_yes_no(f"Delete {what} permanently?")


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
    return f"{header.session_id[:SHORT_ID]} “{header.title or 'Untitled'}”"


async def search(context: Context) -> int:
    """Print where words occur: whole words first, then parts of words."""
    options = context.options
    async with open_library(context) as library:
        return await search_library(
            library, context.output, " ".join(options.query), limit=options.limit
        )


async def search_library(library: Library, output: Output, query: str, *, limit: int) -> int:
    """Search an open store."""
    hits = await library.store.search(query, limit=limit)

    def lines() -> list[str]:
        found: list[str] = []
        for hit in hits:
            found += _hit_lines(hit)
        return found

    return output.listing([_hit_json(hit) for hit in hits], lines, "Nothing found.")


def _hit_json(hit: SearchHit) -> dict[str, object]:
    fields = asdict(hit)
    del fields["words"]
    return fields


def _hit_lines(hit: SearchHit) -> tuple[str, str]:
    """Return where a hit is, and the words around it."""
    holder = HIT_KIND_NAMES.get(hit.kind, "")
    has_no_author = holder and hit.role in ("", Role.TOOL)
    author = "" if has_no_author else hit.model or hit.role
    place = ", ".join(word for word in (author, holder) if word)
    columns = (hit.session_id[:SHORT_ID], local_time(hit.created_at), place, hit.title)
    match = f"[{hit.match}]" if hit.match else ""
    words = f"{hit.before.strip()} {match} {hit.after.strip()}"
    return "  ".join(columns), f"    {words.strip()}"
