"""`lmchat sessions` and `lmchat search`.

The header of a session has its id, title, times and model, but none of its messages.
"""

from __future__ import annotations

from msgspec.structs import asdict

from lmchat.cli.context import Context
from lmchat.cli.store import open_library, open_store
from lmchat.errors import SessionNotFound, WrongUse
from lmchat.library import ExportAs
from lmchat.sessions.message import Role
from lmchat.sessions.session import HIT_KIND_NAMES, SessionHeader
from lmchat.terminal.output import SHORT_ID, ask_yes_no, can_ask, local_time, table
from lmchat.units import counted


async def list_sessions(context: Context) -> int:
    """Print the sessions, or with `--trash` the deleted ones, newest first."""
    is_trash = context.options.trash
    async with open_store(context) as store:
        headers = await store.list_sessions(is_trash=is_trash)
    head = ("ID", "DELETED" if is_trash else "CHANGED", "MSGS", "MODEL", "TITLE")
    rows = [
        (
            header.session_id[:SHORT_ID],
            local_time(header.deleted_at or header.updated_at),  # only the trash has deleted ones
            str(header.message_count),
            header.model,
            (header.title or "Untitled") + (" (fork)" if header.parent_id else ""),
        )
        for header in headers
    ]
    return context.output.print_list(
        [header_json(header) for header in headers],
        lambda: table(head, rows),
        "The trash is empty." if is_trash else "There are no saved sessions.",
    )


async def show(context: Context) -> int:
    """Print the shown branch of a session as text with its reasoning, or all branches as JSON."""
    output = context.output
    async with open_library(context) as library:
        session_id = await library.store.find(context.options.id)
        session = await library.store.open_session(session_id)
        export_as = ExportAs(form="json" if output.is_json else "txt", with_reasoning=True)
        text = await library.export_text(session, export_as)
    if output.is_json:
        output.print_safe(text)
    else:
        output.print_text(text)
    return 0


async def rename(context: Context) -> int:
    """Change the title of a session and print the new one; raises `WrongUse` for an empty title."""
    options = context.options
    if not options.title.strip():
        raise WrongUse("The title is empty.", hint="Example: lmchat sessions rename last Garden")
    async with open_library(context) as library:
        session_id = await library.store.find(options.id)
        header = await library.rename(session_id, options.title)
    sentence = f"{header.session_id[:SHORT_ID]} is now “{header.title}”."
    return context.output.print_result(header_json(header), sentence)


async def delete(context: Context) -> int:
    """Put a session into the trash, and print how to restore it."""
    async with open_library(context) as library:
        header = await library.delete(await library.store.find(context.options.id))
    step = f"`lmchat sessions restore {header.session_id[:SHORT_ID]}` restores it"
    sentence = f"{_id_and_title(header)} is in the trash; {step}."
    return context.output.print_result(header_json(header), sentence)


async def restore(context: Context) -> int:
    """Move a session out of the trash and print its title.

    For `last`, it is the one that was deleted last. Raises `SessionNotFound`.
    """
    async with open_library(context) as library:
        trash = await library.trash()
        if context.options.id == "last":
            session_id = trash[0].session_id if trash else ""
        else:
            session_id = await library.store.find(context.options.id)
        if session_id not in {header.session_id for header in trash}:
            is_last = context.options.id == "last"
            message = "The trash is empty." if is_last else "This session is not in the trash."
            hint = "`lmchat sessions --trash` lists what can be restored."
            raise SessionNotFound(message, hint=hint)
        header = await library.restore(session_id)
    return context.output.print_result(header_json(header), f"{_id_and_title(header)} is restored.")


async def purge(context: Context) -> int:
    """Delete a session permanently, after the user has confirmed it, and print what was deleted.

    Without an id, everything in the trash is deleted, and all messages that were deleted with `d`.
    """
    message_count = 0
    async with open_library(context) as library:
        if context.options.id:
            session_id = await library.store.find(context.options.id)
            # only the header is needed, but the store reads at least one message
            session = await library.store.open_session(session_id, count=1)
            headers = [session.header]
        else:
            headers = list(await library.trash())
            message_count = await library.store.deleted_message_count()
        subjects = [_id_and_title(header) for header in headers]
        if len(headers) > 1:
            subjects = [counted(len(headers), "session")]
        if message_count:
            subjects.append(counted(message_count, "deleted message"))
        note = "The trash is empty."
        if subjects and not await _is_confirmed(context, " and ".join(subjects)):
            headers, message_count, note = [], 0, "Nothing was deleted."
        elif context.options.id:
            await library.purge(headers[0].session_id)
        elif subjects:
            # another window may have restored one of them
            headers = [header for header in await library.trash() if header in headers]
            ids = [header.session_id for header in headers]
            await library.purge(*ids, is_with_messages=True)

    lines = [f"{_id_and_title(header)} was deleted permanently." for header in headers]
    if context.options.id and headers:
        return context.output.print_result(header_json(headers[0]), *lines)
    if message_count:
        note = f"Permanently deleted: {counted(message_count, 'message')}."
        lines.append(note)
    return context.output.print_list(
        [header_json(header) for header in headers], lambda: lines, note
    )


async def _is_confirmed(context: Context, subject: str) -> bool:
    """Ask whether to delete a subject permanently; `--yes` is the answer without the question.

    Raises `WrongUse` if there is neither `--yes` nor a terminal to ask at.
    """
    if context.options.yes:
        return True
    if not can_ask():
        raise WrongUse(f"Deleting {subject} cannot be undone.", hint="Confirm with --yes.")
    return await ask_yes_no(f"Delete {subject} permanently?")


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


def _id_and_title(header: SessionHeader) -> str:
    return f"{header.session_id[:SHORT_ID]} “{header.title or 'Untitled'}”"


async def search(context: Context) -> int:
    """Print the hits of the query in all sessions, at most as many as `--limit` says.

    Hits of whole words come before those of parts of words.
    """
    options = context.options
    async with open_library(context) as library:
        hits = await library.store.search(" ".join(options.query), limit=options.limit)
    documents: list[dict[str, object]] = []
    lines: list[str] = []
    for hit in hits:
        document = asdict(hit)
        del document["words"]  # those of the query, which only the screen needs
        documents.append(document)

        kind_name = HIT_KIND_NAMES.get(hit.kind, "")
        author = hit.model or hit.role
        if kind_name and hit.role in ("", Role.TOOL):  # the kind says all, as "tool result"
            author = ""
        place = ", ".join(word for word in (author, kind_name) if word)
        lines.append(
            "  ".join((hit.session_id[:SHORT_ID], local_time(hit.created_at), place, hit.title))
        )
        match = f"[{hit.match}]" if hit.match else ""  # a search as `has:code` has none
        lines.append(f"    {f'{hit.before.strip()} {match} {hit.after.strip()}'.strip()}")
    return context.output.print_list(documents, lambda: lines, "Nothing found.")
