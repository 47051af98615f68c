"""`lmchat sessions` and `lmchat search`.

The header of a session has its id, title, times and model, but none of its messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from itertools import chain

from msgspec.structs import asdict

from lmchat.app.cli.context import Context, confirmed
from lmchat.app.terminal.output import SHORT_ID, local_time, table, terminal_columns
from lmchat.base.errors import SessionOpen, StoreDamaged, WrongUse
from lmchat.base.files.disk import empty_log
from lmchat.base.files.locks import has_file_locks
from lmchat.base.units import counted
from lmchat.core.library.library import ExportAs, Library
from lmchat.core.library.stores import open_saved
from lmchat.core.sessions.session import HIT_KIND_NAMES, SessionHeader
from lmchat.core.storage.store import Store

_CLOSE = "Open another session there, or quit it, then try again."
_NO_LOCKS = "This disk has no file locks, so first close all other lmchat windows."


def _opened(context: Context) -> AbstractAsyncContextManager[Store]:
    return open_saved(context.paths, context.note)


async def list_sessions(context: Context) -> int:
    """Print the sessions: the pinned ones, those that were changed last, the archived ones.

    With `--trash`, print those in the trash instead, the last deleted one first.
    """
    is_trash = context.options.trash
    async with _opened(context) as store:
        headers = await store.list_sessions(is_trash=is_trash)
    head = ("ID", "DELETED" if is_trash else "CHANGED", "MSGS", "MODEL", "TITLE")
    rows = [
        (
            header.session_id[:SHORT_ID],
            local_time(header.deleted_at or header.updated_at),  # only the trash has deleted ones
            str(header.message_count),
            header.model,
            (header.title or "Untitled")
            + (" (fork)" if header.parent_id else "")
            + (" (pinned)" if header.is_pinned else "")
            + (" (archived)" if header.is_archived else ""),
        )
        for header in headers
    ]
    return context.output.print_list(
        [header_json(header) for header in headers],
        table(head, rows, width=terminal_columns()),
        "The trash is empty." if is_trash else "There are no saved sessions.",
    )


async def show(context: Context) -> int:
    """Print the shown branch of a session as text with its reasoning, or all branches as JSON."""
    output = context.output
    async with _opened(context) as store:
        session = await store.open_session(await store.find_id(context.options.id))
        export_as = ExportAs(form="json" if output.is_json else "txt", with_reasoning=True)
        text = await Library(store).export_text(session, export_as)
    if output.is_json:
        output.print_safe(text)
    else:
        output.print_text(text)
    return 0


async def rename(context: Context) -> int:
    """Change the title of a session and print the new one; raises `WrongUse` for an empty title."""
    options = context.options
    if not options.title.strip():
        raise WrongUse(
            "The title is empty.", next_step="Example: lmchat sessions rename last Garden"
        )
    async with _opened(context) as store:
        header = await Library(store).rename(await store.find_id(options.id), options.title)
    sentence = f"{header.session_id[:SHORT_ID]} is now “{header.title}”."
    return context.output.print_result(header_json(header), sentence)


async def delete(context: Context) -> int:
    """Put sessions into the trash, and print how to restore each; none if one is not found."""
    async with _opened(context) as store:
        found = [await store.find_id(word) for word in context.options.ids]
        headers = [await Library(store).delete(session_id) for session_id in found]
    lines = [
        f"{_id_and_title(header)} is in the trash; "
        f"`lmchat sessions restore {header.session_id[:SHORT_ID]}` restores it."
        for header in headers
    ]
    return _print_changed(context, headers, lines)


async def restore(context: Context) -> int:
    """Move sessions out of the trash and print their titles; none if one is not found.

    The id `last` means the session that was deleted last. Raises `SessionNotFound` if a session is
    not in the trash.
    """
    async with _opened(context) as store:
        library = Library(store)
        found = [await library.find_deleted(word) for word in context.options.ids]
        headers = [await library.restore(session_id) for session_id in found]
    lines = [f"{_id_and_title(header)} is restored." for header in headers]
    return _print_changed(context, headers, lines)


def _print_changed(context: Context, headers: Sequence[SessionHeader], lines: Sequence[str]) -> int:
    values = [header_json(header) for header in headers]
    if len(values) > 1:
        return context.output.print_list(values, lines, "")
    return context.output.print_result(values[0], *lines)


async def recover(context: Context) -> int:
    """Put the newest intact daily copy, else an empty file, in the place of a damaged file.

    Raises `WrongUse` if it is not damaged.
    """
    async with _opened(context) as store:
        try:
            await store.check()
        except StoreDamaged:
            await store.replace_damaged(next(iter(await store.backups()), None))
            if context.output.is_json:
                context.output.print_json({"result": store.notice})
            return 0
    raise WrongUse("sessions.db is not damaged.", next_step="Nothing was changed.")


async def purge(context: Context) -> int:
    """Delete a session permanently, after the user has confirmed it, and print what was deleted.

    Without an id, everything in the trash is deleted, and all messages that were deleted with `d`.
    What another lmchat has open stays; raise `SessionOpen` if that is all. The log of the tools,
    which may quote what is deleted, is emptied.
    """
    wanted = context.options.id
    output = context.output
    message_count = 0  # of deleted messages
    async with _opened(context) as store:
        if wanted:
            # only the header is needed, but the store reads at least one message
            session = await store.open_session(await store.find_id(wanted), count=1)
            headers: Sequence[SessionHeader] = [session.header]
        else:
            headers = await store.list_sessions(is_trash=True)
            message_count = await store.deleted_message_count()
        if not headers and not message_count:
            return output.print_list([], [], "The trash is empty.")
        subject = _deleted_text(headers, message_count)
        question, refusal = (
            f"Delete {subject} permanently?",
            f"Deleting {subject} cannot be undone.",
        )
        # else a purge does not see which sessions other lmchats have open
        if not await asyncio.to_thread(has_file_locks, context.paths.config_dir):
            question = f"{_NO_LOCKS} {question}"
        if not await confirmed(context, question, refusal):
            return output.print_list([], [], "Nothing was deleted.")
        ids = [header.session_id for header in headers]
        purged = await store.purge(*ids, is_with_messages=not wanted)
    headers = [header for header in headers if header.session_id not in purged.open_ids]
    message_count -= purged.open_messages
    if not headers and not message_count:
        raise SessionOpen(f"Open in another lmchat, and not deleted: {subject}.", next_step=_CLOSE)
    left = [*purged.left_files]
    try:
        await asyncio.to_thread(empty_log, context.paths.tools_log_file)
    except OSError:
        left.append(context.paths.tools_log_file)
    subject = _deleted_text(headers, message_count)
    documents = [header_json(header) for header in headers]
    document = documents[0] if wanted else {"object": "list", "data": documents}
    if text := purged.open_note:
        context.note(f"Open in another lmchat, and not deleted: {text}. {_CLOSE}")
    for path in left:
        context.note(f"{path} could not be removed and may have the text; delete it.")
    return output.print_result(document, f"Deleted permanently: {subject}.")


def header_json(header: SessionHeader) -> dict[str, object]:
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


def _deleted_text(headers: Sequence[SessionHeader], message_count: int) -> str:
    """Such as `2 sessions and 1 deleted message`."""
    subjects: list[str] = []
    if len(headers) == 1:
        subjects.append(_id_and_title(headers[0]))
    elif headers:
        subjects.append(counted(len(headers), "session"))
    if message_count:
        subjects.append(counted(message_count, "deleted message"))
    return " and ".join(subjects)


def _id_and_title(header: SessionHeader) -> str:
    return f"{header.session_id[:SHORT_ID]} “{header.title or 'Untitled'}”"


async def search(context: Context) -> int:
    options = context.options
    async with _opened(context) as store:
        hits = await store.search(" ".join(options.query), limit=options.limit)
    documents: list[dict[str, object]] = []
    lines: dict[str, list[str]] = {}  # of each session
    for hit in hits:
        document = asdict(hit)
        del document["words"]  # of the query; only the screen needs them
        documents.append(document)
        place = ", ".join(filter(None, (hit.author, HIT_KIND_NAMES.get(hit.kind))))
        match = f"[{hit.match}]" if hit.match else ""  # none for a search such as `has:code`
        text = f"{hit.before}{match}{hit.after}".strip()
        head = f"{hit.session_id[:SHORT_ID]}  {hit.title}"
        row = f"    {local_time(hit.created_at)}  {place}  {text}"
        lines.setdefault(hit.session_id, [head]).append(row)
    return context.output.print_list(
        documents, [*chain(*lines.values())], "Nothing found; the trash is not searched."
    )
