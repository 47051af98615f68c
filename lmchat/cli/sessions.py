"""`lmchat sessions`: the saved sessions on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime

from lmchat.cli.context import Parts
from lmchat.cli.input import can_ask, consents
from lmchat.cli.output import table
from lmchat.cli.wiring import make_library, make_store, tell_notice
from lmchat.domain.session import SearchHit, SessionHeader
from lmchat.errors import SessionNotFound, WrongUse
from lmchat.services.exporting import ExportAs
from lmchat.services.library import Library
from lmchat.text import safe_line

_SHORT_ID = 8


async def list_sessions(parts: Parts) -> int:
    """Print the sessions, newest first."""
    async with aclosing(make_store(parts)) as store:
        headers = await store.list_sessions(is_trash=parts.options.trash, limit=1_000_000)
        tell_notice(parts, store)
    if parts.output.is_json:
        parts.output.document({"object": "list", "data": [header_json(header) for header in headers]})
    elif headers:
        rows = [
            (
                header.session_id[:_SHORT_ID],
                _time(header.deleted_at or header.updated_at),
                str(header.message_count),
                header.model,
                header.title or "Untitled",
            )
            for header in headers
        ]
        parts.output.text(
            table(("ID", "DELETED" if parts.options.trash else "CHANGED", "MSGS", "MODEL", "TITLE"), rows)
        )
    else:
        parts.output.note("The trash is empty." if parts.options.trash else "There is no session yet.")
    return 0


async def show(parts: Parts) -> int:
    """Print a session as text, or all of it as JSON."""
    form = "json" if parts.output.is_json else "txt"
    async with aclosing(make_store(parts)) as store:
        session = await store.open_session(await store.find(parts.options.id))
        text = await make_library(store).export_text(session, ExportAs(form=form, with_reasoning=True))
    if parts.output.is_json:
        parts.output.raw_document(text)
    else:
        parts.output.text(text)
    return 0


async def rename(parts: Parts) -> int:
    """Change the title of a session."""
    async with aclosing(make_store(parts)) as store:
        library = make_library(store)
        header = await library.rename(await store.find(parts.options.id), parts.options.title)
    return _told(parts, header, f"{header.session_id[:_SHORT_ID]} is now “{safe_line(header.title)}”.")


async def delete(parts: Parts) -> int:
    """Put a session into the trash."""
    async with aclosing(make_store(parts)) as store:
        header = await make_library(store).delete(await store.find(parts.options.id))
    short = header.session_id[:_SHORT_ID]
    return _told(
        parts, header, f"{_named(header)} is in the trash; `lmchat sessions restore {short}` brings it back."
    )


async def restore(parts: Parts) -> int:
    """Take a session out of the trash."""
    async with aclosing(make_store(parts)) as store:
        header = await _restored(make_library(store), parts.options.id)
    return _told(parts, header, f"{_named(header)} is back.")


async def _restored(library: Library, wanted: str) -> SessionHeader:
    """Take a session out of the trash; `last` is the one that was deleted last."""
    if wanted != "last":
        return await library.restore(await library.find(wanted))
    header = await library.undo_delete()
    if header is None:
        raise SessionNotFound("The trash is empty.", hint="`lmchat sessions` lists what there is.")
    return header


async def purge(parts: Parts) -> int:
    """Remove a session for good, or all that is in the trash; somebody has to consent."""
    async with aclosing(make_store(parts)) as store:
        library = make_library(store)
        wanted = await _to_purge(library, parts.options.id)
        if not wanted or not await _may_purge(parts, wanted):
            gone: tuple[SessionHeader, ...] = ()
        else:
            gone = wanted
            for header in wanted:
                await library.purge(header.session_id)
    if parts.output.is_json and parts.options.id and gone:
        parts.output.document(header_json(gone[0]))
    elif parts.output.is_json:
        parts.output.document({"object": "list", "data": [header_json(header) for header in gone]})
    elif gone:
        parts.output.text("\n".join(f"{_named(header)} was removed for good." for header in gone))
    else:
        parts.output.note("Nothing was removed." if wanted else "The trash is empty.")
    return 0


async def _to_purge(library: Library, wanted: str) -> tuple[SessionHeader, ...]:
    if not wanted:
        return await library.trash()
    return ((await library.store.open_end(await library.find(wanted), count=1)).header,)


async def _may_purge(parts: Parts, wanted: Sequence[SessionHeader]) -> bool:
    """Ask at a terminal; a script has to say it.

    Raises:
        WrongUse: nobody is there to answer.
    """
    if parts.options.yes:
        return True
    what = _named(wanted[0]) if len(wanted) == 1 else f"{len(wanted)} sessions"
    if not can_ask():
        raise WrongUse(f"Nothing brings {what} back once that is removed.", hint="Consent with --yes.")
    return await consents(f"Remove {what} for good?")


def header_json(header: SessionHeader) -> dict[str, object]:
    """Return what scripts get of a session."""
    return {
        "id": header.session_id,
        "title": header.title,
        "created_at": header.created_at.isoformat(),
        "updated_at": header.updated_at.isoformat(),
        "deleted_at": header.deleted_at.isoformat() if header.deleted_at else None,
        "model": header.model,
        "endpoint": header.endpoint,
        "messages": header.message_count,
        "pinned": header.is_pinned,
        "archived": header.is_archived,
        "tags": list(header.tags),
    }


def _told(parts: Parts, header: SessionHeader, sentence: str) -> int:
    if parts.output.is_json:
        parts.output.document(header_json(header))
    else:
        parts.output.text(sentence)
    return 0


def _named(header: SessionHeader) -> str:
    return f"{header.session_id[:_SHORT_ID]} “{safe_line(header.title) or 'Untitled'}”"


def _time(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


_HOLDERS = {"reasoning": "thought", "tool_call": "tool call", "title": "title"}
"""What holds the words, where it is not what was said."""


async def search(parts: Parts) -> int:
    """Print where words occur: whole words first, then parts of words."""
    async with aclosing(make_store(parts)) as store:
        hits = await store.search(" ".join(parts.options.query), limit=parts.options.limit)
        tell_notice(parts, store)
    if parts.output.is_json:
        parts.output.document({"object": "list", "data": [_json(hit) for hit in hits]})
    elif hits:
        parts.output.text("\n".join(_text(hit) for hit in hits))
    else:
        parts.output.note("Nothing found.")
    return 0


def _json(hit: SearchHit) -> dict[str, object]:
    return {
        "session_id": hit.session_id,
        "title": hit.title,
        "message_id": hit.message_id,
        "role": hit.role,
        "model": hit.model,
        "kind": hit.kind,
        "created_at": hit.created_at.isoformat(),
        "before": hit.before,
        "match": hit.match,
        "after": hit.after,
    }


def _text(hit: SearchHit) -> str:
    who = hit.model if hit.role == "assistant" and hit.model else hit.role
    told = (
        hit.session_id[:_SHORT_ID],
        hit.created_at.astimezone().strftime("%Y-%m-%d %H:%M"),
        ", ".join(word for word in (safe_line(who) if hit.role else "", _HOLDERS.get(hit.kind, "")) if word),
        safe_line(hit.title),
    )
    match = f"[{safe_line(hit.match)}]" if hit.match else ""
    around = f"{safe_line(hit.before)} {match} {safe_line(hit.after)}"
    return f"{'  '.join(told)}\n    {around.strip()}"
