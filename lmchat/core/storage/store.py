"""Store of all sessions: in `sessions.db`, or in memory for a temporary chat; the only writer.

A running answer or tool call has a row in the state `streaming` and a file beside the database
(`journal`). `end_answer` writes it into the tables and removes the file; after `kill -9`,
`recovery` does. Methods that are `reading` or `writing` run on the thread of the database: callers
await them and omit `connection`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from lmchat.base.errors import LMChatError, SessionNotFound, StoreUnavailable
from lmchat.base.files.disk import explain_system_error
from lmchat.base.processes.background import run_abandonable
from lmchat.core.sessions.journal_entries import JournalEntry
from lmchat.core.sessions.message import (
    AnswerState,
    ChatMessage,
    FilePart,
    Role,
    TextPart,
    interrupted,
    new_id,
    now,
)
from lmchat.core.sessions.prompts import Prompt, joined_paragraphs
from lmchat.core.sessions.session import MessagePath, SearchHit, Session, SessionHeader
from lmchat.core.sessions.tokens import TokenProbabilities
from lmchat.core.storage import importing, message_records, search
from lmchat.core.storage.attachment_files import AttachedFiles, named_digests
from lmchat.core.storage.backup import (
    back_up,
    intact_backups,
    is_due,
    notice_of_missing,
    replace_damaged,
    set_aside_logs,
)
from lmchat.core.storage.branch_queries import (
    BELOW,
    DRAFT,
    LAST_CHANGED_FIRST,
    active_path,
    all_messages,
    end_of_path,
    first_id,
    first_prompt_title,
    first_text,
    header,
    leaf_without,
    newest_leaf,
    whole_path,
)
from lmchat.core.storage.database import Database, reading, writing
from lmchat.core.storage.importing import Imported
from lmchat.core.storage.journal import FileJournal
from lmchat.core.storage.message_records import (
    make_leaf,
    put_message,
    put_records,
    put_session,
    session_records,
    set_columns,
)
from lmchat.core.storage.opening import (
    Connection,
    connect,
    connect_in_memory,
    is_damage,
    require_whole,
)
from lmchat.core.storage.purge import (
    DELETED_MESSAGES,
    VISIBLE,
    Purged,
    Trash,
    is_clock_doubtful,
    note_use,
    notice_of_clock,
)
from lmchat.core.storage.record_values import (
    HEADER_COLUMNS,
    column_value,
    header_from,
    insert,
    read_parts,
    storable,
    stored_time,
    text_from,
    unpacked_choices,
)
from lmchat.core.storage.recovery import recover_killed_answers
from lmchat.core.storage.session_locks import SessionLocks

_logger = logging.getLogger(__name__)

_SHORTEST_PREFIX_CHARS = 4  # of a session's id
_MOST_AMBIGUOUS_IDS = 9  # that an error names
# people repeat prompts, and each is returned once
_READ_PER_RETURNED_PROMPT = 5
_LATEST = "9999"  # after all stored times, which are compared as texts


class Store:
    """Sessions, drafts and prompts; the first call of a method opens the database."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        clock: Callable[[], datetime] = now,
        kept_prompts: Path | None = None,
    ) -> None:
        """Without a path, all is kept in memory, attached files too."""
        self._clock = clock
        self._is_temporary = path is None
        self._path = path or Path(os.devnull)
        self._locks = SessionLocks(self._path, has_others=path is not None)
        self.files = AttachedFiles(path and path.with_name("attachments"))
        self._trash = Trash(self._locks, self.files, kept_prompts)
        if path is None:
            self.database = Database(self._path, connect_in_memory)
        else:
            self.database = Database(
                path, self._open_file, look=lambda: set_aside_logs(path, clock())
            )
        self._journal = FileJournal(self._path)

    # The database

    @property
    def notice(self) -> str:
        """Tell the user what was found at the opening of the file, or mended; "" for nothing."""
        return self.database.notice

    async def open(self) -> str:
        """Return the notice. Raises `StoreUnavailable`."""
        await self.database.run(lambda _: None)
        return self.notice

    def _open_file(self) -> Connection:
        """Each step has its own transactions: a failure keeps the effect of the steps before."""
        path = self._path
        lost = notice_of_missing(path, self._clock())
        connection = connect(path)
        moment = self._clock()
        try:
            recover_killed_answers(connection, moment)
            connection.notice = f"{lost} {notice_of_clock(connection, moment)}".strip()
            left = self._trash.empty(connection, moment)
            connection.notice = f"{connection.notice} {left}".strip()
        except (sqlite3.Error, OSError) as error:
            if is_damage(error):
                connection.close()
                raise
            # such as a full disk: sessions can still be read
            _logger.info("putting the session file in order failed: %s", error)
        return connection

    async def daily_check(self) -> None:
        """Check and copy the file, once a day."""
        if self._is_temporary:
            return
        moment = self._clock()
        must_copy, keeps_all = await self.database.run(
            lambda connection: (is_due(connection, moment), is_clock_doubtful(connection, moment))
        )
        if not must_copy:
            return
        # a copy dated by a wrong clock must not push out others
        try:
            await run_abandonable(lambda: back_up(self._path, moment, keeps_all=keeps_all))
        except sqlite3.Error:
            await self.check()
        await self.database.run(lambda connection: self.files.remove_unnamed(connection, moment))
        await self.database.run(self._note_use)  # a window may be open for weeks

    async def check(self) -> None:
        """Read the whole file; raise `StoreDamaged`, or `StoreUnavailable`."""
        await self.database.run(require_whole)

    async def backups(self) -> dict[Path, str]:
        """Return the intact daily copies, newest first, with words for each.

        Raises `StoreUnavailable`.
        """
        try:
            return await run_abandonable(lambda: intact_backups(self._path, self._clock()))
        except OSError as error:
            raise explain_system_error(error, self._path) from error

    async def replace_damaged(self, chosen: Path | None) -> None:
        """Put a backup, or an empty file, in the place of the damaged file; the notice says so.

        Raises `StoreUnavailable`, also while another lmchat has the file open.
        """
        moment = self._clock()
        await self.database.replace(lambda: replace_damaged(self._path, moment, chosen))

    async def aclose(self) -> None:
        await self._journal.aclose()
        await self.database.aclose(self._note_use)
        await asyncio.to_thread(self._locks.close)

    def keep_locked(self, session_ids: Collection[str]) -> None:
        """Soon lock these sessions, which are in memory, and no others."""
        with suppress(StoreUnavailable):  # lmchat is quitting
            self.database.run_soon(lambda: self._locks.keep(session_ids))

    def _note_use(self, connection: Connection) -> None:
        note_use(connection, self._clock())

    # Sessions

    @reading
    def list_sessions(
        self, connection: Connection, *, is_trash: bool = False
    ) -> tuple[SessionHeader, ...]:
        """Pinned ones come first, archived ones last, else the last changed; no damaged ones."""
        if is_trash:
            clauses = "deleted_at is not null order by deletion desc, deleted_at desc, rowid desc"
        else:
            clauses = (
                f"deleted_at is null order by is_archived, is_pinned desc, {LAST_CHANGED_FIRST}"
            )
        query = f"select {HEADER_COLUMNS} from sessions where {clauses}"
        headers = [header_from(record) for record in connection.execute(query)]
        return tuple(header for header in headers if header is not None)

    @reading
    def find_id(self, connection: Connection, id_or_prefix: str) -> str:
        """Raises `SessionNotFound` if none or several fit; `last` is the session changed last."""
        if id_or_prefix == "last":
            query = f"""select session_id from sessions where deleted_at is null
                order by {LAST_CHANGED_FIRST}"""
            last_id = first_id(connection, query, ())
            if last_id is None:
                raise SessionNotFound(
                    "There are no saved sessions.",
                    next_step="The chat saves what you send, and so does `lmchat ask --save`.",
                )
            return last_id
        if len(id_or_prefix) < _SHORTEST_PREFIX_CHARS:
            raise SessionNotFound(
                f"“{id_or_prefix}” is too short for a session id.",
                next_step="Type at least the first 4 characters.",
            )

        records = connection.execute(
            f"""select session_id from sessions where substr(session_id, 1, ?) = ?
                order by {LAST_CHANGED_FIRST} limit ?""",
            (len(id_or_prefix), id_or_prefix.lower(), _MOST_AMBIGUOUS_IDS),
        )
        matching_ids = [str(session_id) for (session_id,) in records]
        if not matching_ids:
            raise SessionNotFound(
                f"No session id begins with {id_or_prefix}.",
                next_step="`lmchat sessions` lists them; with --trash, the deleted ones.",
            )
        if len(matching_ids) > 1:
            raise SessionNotFound(
                f"More than one session id begins with {id_or_prefix}: {', '.join(matching_ids)}.",
                next_step="Type more characters of it.",
            )
        return matching_ids[0]

    @reading
    def open_session(
        self,
        connection: Connection,
        session_id: str,
        *,
        count: int | None = None,
        is_locked: bool = False,
    ) -> Session:
        """Save answers of killed processes first: one may be of this session.

        With `is_locked`, it is locked, until `keep_locked` names others.
        """
        if is_locked:
            self._locks.hold(session_id)
        if not self._is_temporary:
            try:
                recover_killed_answers(connection, self._clock())
            except (sqlite3.Error, OSError) as error:
                if is_damage(error):
                    raise
                # on a full disk: the session shows the text in their files
                _logger.warning("answers of killed processes could not be saved: %s", error)
        return active_path(connection, session_id, count)

    @writing
    def update_session(
        self,
        connection: Connection,
        session_id: str,
        changes: Mapping[str, object],
        *,
        old_title: str | None = None,
    ) -> SessionHeader:
        """Change fields of the header, by their names; raise `SessionNotFound`.

        Nothing changes if the title is not `old_title`: a model must not replace a title of the
        user.
        """
        old = header(connection, session_id)
        if old_title is not None and old_title != old.title:
            return old
        columns = {name: column_value(value) for name, value in changes.items()}
        if columns.get("title") == "":
            columns["title"] = column_value(first_prompt_title(connection, session_id))
        set_columns(connection, session_id, **columns)
        if changes.get("deleted_at") is not None:
            self._trash.remove_prompts(connection)
            self._locks.release(session_id)
        return header(connection, session_id)

    @writing
    def fork(self, connection: Connection, session_id: str, message_id: str) -> Session:
        """Copy the path to a message into a new session; a running answer is interrupted in it.

        Raises `SessionNotFound`.
        """
        _raise_if_missing(connection, session_id, message_id)
        path = whole_path(connection, session_id, message_id)
        moment = self._clock()
        fork = replace(
            header(connection, session_id),
            session_id=new_id(),
            created_at=moment,
            updated_at=moment,
            is_pinned=False,
            is_archived=False,
            deleted_at=None,
            parent_id=session_id,
        )
        put_session(connection, fork)

        parent_id: str | None = None
        for message in path:
            is_running = message.state is AnswerState.STREAMING
            ended = interrupted(message, "The session was forked") if is_running else message
            copy = replace(ended, message_id=new_id(), parent_id=parent_id)
            put_message(connection, fork.session_id, copy)
            connection.execute(
                """insert into token_choices (number, data)
                    select copy.number, data from token_choices
                    join messages as original using (number)
                    join messages as copy on copy.message_id = ?
                    where original.message_id = ?""",
                (copy.message_id, message.message_id),
            )
            parent_id = copy.message_id
        set_columns(connection, fork.session_id, updated_at=stored_time(moment), change=0)
        return _set_active_path(connection, fork.session_id, parent_id)

    async def purge(self, *session_ids: str, is_with_messages: bool = False) -> Purged:
        """With `is_with_messages`, purge all deleted messages, too; return what is left for now.

        What this process has in memory is given up.
        """
        messages_before = _LATEST if is_with_messages else ""
        self.keep_locked(())
        # Cancelling must not leave files with the text of deleted rows. `write` cannot run this:
        # its own transaction, and steps that cannot be in one.
        return await asyncio.shield(
            self.database.run(
                lambda connection: self._trash.purge(
                    connection, session_ids, messages_before=messages_before
                )
            )
        )

    @reading
    def are_visible(self, connection: Connection, message_ids: Sequence[str]) -> bool:
        """Whether all are saved, in sessions outside the trash."""
        return all(connection.execute(VISIBLE, (one,)).fetchone() for one in message_ids)

    @reading
    def deleted_message_count(self, connection: Connection) -> int:
        """Count those of all sessions."""
        query = f"select count(*) from {DELETED_MESSAGES}"
        return int(connection.execute(query).fetchone()[0])

    async def take_session(self, saved: Store, id_or_prefix: str) -> str:
        """Find the id of a session in `saved`; copy it here if that is another store.

        An answer that another window streams is interrupted in the copy. Raises `SessionNotFound`.
        """
        session_id = await saved.find_id(id_or_prefix)
        if saved is not self:
            await self.take_rows(saved, session_id)
            for digest in await self.database.run(named_digests):
                with suppress(LMChatError):  # it is missing or damaged there, too
                    await self.files.save(await saved.files.read(digest))
        return session_id

    async def take_rows(self, saved: Store, session_id: str) -> None:
        """Copy a session that is not here, if there is one, but not its files."""
        query = "select 1 from sessions where session_id = ?"
        if await self.database.run(lambda connection: first_id(connection, query, (session_id,))):
            return
        records = await saved.database.run(
            lambda connection: list(session_records(connection, session_id))
        )
        await self.database.write(lambda connection: put_records(connection, records))

    @writing
    def import_session(self, connection: Connection, session: Session) -> Imported:
        """Add a session, or to one with its id the messages that it lacks."""
        return importing.import_session(connection, session)

    @reading
    def search(
        self, connection: Connection, query: str, *, limit: int = 20
    ) -> tuple[SearchHit, ...]:
        """Raises `WrongUse` for a wrong filter."""
        return search.search(connection, query, limit)

    # Messages

    @reading
    def read_path(
        self, connection: Connection, session_id: str, message_id: str, *, count: int
    ) -> tuple[MessagePath, str | None]:
        return end_of_path(connection, session_id, message_id, count)

    @writing
    def append(
        self,
        connection: Connection,
        session: SessionHeader,
        message: ChatMessage,
        draft: tuple[str, str] | None = None,
    ) -> None:
        """A missing session is created, and locked until `keep_locked` names others.

        `draft` has what `save_draft` takes, the own text first: a prompt leaves its draft.
        """
        self._locks.hold(session.session_id)
        put_session(connection, session)
        put_message(connection, session.session_id, message)
        make_leaf(connection, session.session_id, message, self._clock())
        if draft is not None:
            self._merge_draft(connection, session.session_id, *draft)

    @writing
    def append_branch(
        self, connection: Connection, session: SessionHeader, messages: Sequence[ChatMessage]
    ) -> Session:
        """Write messages, each the parent of the next; choose the path to the last."""
        put_session(connection, session)
        for message in messages:
            put_message(connection, session.session_id, message)
        make_leaf(connection, session.session_id, messages[-1], self._clock())
        return active_path(connection, session.session_id)

    async def start_answer(
        self, session_id: str, message: ChatMessage, *, has_prompt: bool = True
    ) -> None:
        """Create the file of an answer or tool call, and its row if `has_prompt`.

        Else the messages above could not be written, as on a full disk.
        """
        if not self._is_temporary:
            await self._journal.start(session_id, message, has_prompt=has_prompt)
        if has_prompt:
            await self.database.write(
                lambda connection: message_records.start_answer(
                    connection, session_id, message, self._clock()
                )
            )

    async def add_entries(self, message_id: str, entries: Sequence[JournalEntry]) -> None:
        if not self._is_temporary:
            await self._journal.add(message_id, entries)

    async def end_answer(
        self, session_id: str, message: ChatMessage, choices: Sequence[TokenProbabilities] = ()
    ) -> None:
        """Save an answer that has ended, then remove its file: a kill between loses nothing."""
        await self.database.write(
            lambda connection: message_records.end_answer(
                connection, session_id, message, self._clock(), choices
            )
        )
        await self._journal.end(message.message_id)

    async def drop_answers(self, *, with_saved_prompts: bool) -> None:
        """Remove the files of unsaved answers, which nobody wants or another file has.

        Else the next start makes sessions of those whose prompts are not saved.
        """
        await self._journal.drop(with_saved_prompts=with_saved_prompts)

    @reading
    def token_probabilities(
        self, connection: Connection, message_id: str
    ) -> tuple[TokenProbabilities, ...]:
        query = """select data from token_choices
            where number = (select number from messages where message_id = ?)"""
        record = connection.execute(query, (message_id,)).fetchone()
        return () if record is None else unpacked_choices(record[0])

    @writing
    def delete_message(self, connection: Connection, session_id: str, message_id: str) -> Session:
        """Hide a message and the visible ones below it; raises `SessionNotFound`.

        Their `hidden_by` names it, for `restore_message`.
        """
        _raise_if_missing(connection, session_id, message_id)
        path = active_path(connection, session_id).messages
        was_on_path = path.index_of(message_id) is not None
        connection.execute(
            f"""{BELOW} update messages set hidden_by = :message
                where number in (select number from below where hidden_by is null)""",
            {"session": session_id, "message": message_id},
        )
        # only its own: messages below it that were deleted before have other times
        connection.execute(
            "update messages set hidden_at = ? where message_id = ?",
            (stored_time(self._clock()), message_id),
        )
        if was_on_path:
            leaf_id = leaf_without(connection, session_id, message_id)
            return _set_active_path(connection, session_id, leaf_id)
        return active_path(connection, session_id)

    @writing
    def restore_message(self, connection: Connection, session_id: str, message_id: str) -> Session:
        """Choose the newest path through the message; raises `SessionNotFound`."""
        _raise_if_missing(connection, session_id, message_id)
        connection.execute(
            "update messages set hidden_by = null where session_id = ? and hidden_by = ?",
            (session_id, message_id),
        )
        # only the deleted message has the time
        query = "update messages set hidden_at = null where message_id = ?"
        connection.execute(query, (message_id,))
        leaf_id = newest_leaf(connection, session_id, message_id)
        return _set_active_path(connection, session_id, leaf_id)

    @reading
    def last_deleted_id(self, connection: Connection, session_id: str) -> str | None:
        """Find the message that was deleted last and still hides some message.

        It may be visible itself, if another window has added one below it.
        """
        query = """select root.message_id from messages root
            where root.session_id = :session and root.message_id in
                (select hidden_by from messages where session_id = root.session_id)
            order by root.deletion desc, root.hidden_at desc, root.number desc"""
        return first_id(connection, query, {"session": session_id})

    @writing
    def set_excluded(
        self,
        connection: Connection,
        session_id: str,
        message_ids: Sequence[str],
        *,
        is_excluded: bool,
    ) -> None:
        """Raises `SessionNotFound`."""
        for message_id in message_ids:
            _raise_if_missing(connection, session_id, message_id)
            connection.execute(
                "update messages set is_excluded = ? where message_id = ?",
                (is_excluded, message_id),
            )

    # Branches

    @reading
    def tree(self, connection: Connection, session_id: str) -> tuple[ChatMessage, ...]:
        return all_messages(connection, session_id)

    @writing
    def choose_path_through(
        self, connection: Connection, session_id: str, message_id: str
    ) -> Session:
        """Lock the session, until `keep_locked` names others; raise `SessionNotFound`."""
        self._locks.hold(session_id)
        _raise_if_missing(connection, session_id, message_id)
        leaf_id = newest_leaf(connection, session_id, message_id)
        return _set_active_path(connection, session_id, leaf_id)

    # Prompts, drafts and reading positions

    @reading
    def prompt_history(self, connection: Connection, *, limit: int = 200) -> tuple[str, ...]:
        """Return earlier prompts as drafts, newest first, each once; deleted ones are left out."""
        # `cross` makes SQLite read the newest first, so the query can end early
        records = connection.execute(
            """select m.number from messages m
                cross join sessions s on s.session_id = m.session_id
                where m.role = ? and m.hidden_by is null and s.deleted_at is null
                order by m.number desc limit ?""",
            (Role.USER, limit * _READ_PER_RETURNED_PROMPT),
        )
        numbers = [number for (number,) in records]
        parts = read_parts(connection, f"number in ({','.join('?' * len(numbers))})", numbers)
        different_prompts: dict[str, None] = {}  # an ordered set
        for number in numbers:
            typed = [part.text for part in parts.get(number, []) if isinstance(part, TextPart)]
            files = [part for part in parts.get(number, []) if isinstance(part, FilePart)]
            different_prompts[Prompt("".join(typed), tuple(files)).draft] = None
        return tuple(different_prompts)[:limit]

    @reading
    def draft(self, connection: Connection, session_id: str) -> str:
        return first_text(connection, DRAFT, session_id)

    @writing
    def take_drafts(self, connection: Connection, session_id: str) -> str:
        """Move drafts that belong to no saved session to a new session, and return them.

        A run leaves such a draft if it ends before its first prompt is saved. Those of a running
        lmchat stay. The oldest comes first, the new session's own last.
        """
        # the comparison is 0 or 1, so the own draft is the last row
        records = connection.execute(
            """select session_id, text from drafts
                where session_id = :new or session_id not in (select session_id from sessions)
                order by session_id = :new, rowid""",
            {"new": session_id},
        ).fetchall()
        held_ids = self._locks.held_ids() - {session_id}
        texts = {old_id: text_from(text) for old_id, text in records if old_id not in held_ids}
        for old_id in texts:
            connection.execute("delete from drafts where session_id = ?", (old_id,))
        self._put_draft(connection, session_id, "\n\n".join(texts.values()))
        return "\n\n".join(text for old_id, text in texts.items() if old_id != session_id)

    @writing
    def save_draft(self, connection: Connection, session_id: str, text: str, own: str) -> None:
        """Replace `own`, what this window has read or written last; an empty text removes it.

        Another window may have typed in the session. If both are equal, the text is written again
        where it is gone.
        """
        self._merge_draft(connection, session_id, own, text)

    def _merge_draft(self, connection: Connection, session_id: str, own: str, text: str) -> None:
        stored = first_text(connection, DRAFT, session_id)
        self._put_draft(connection, session_id, _merged(stored, own, text))

    def _put_draft(self, connection: Connection, session_id: str, text: str) -> None:
        """Replace a draft; lock an unsaved session, whose draft other windows would take."""
        connection.execute("delete from drafts where session_id = ?", (session_id,))
        if text:
            insert(connection, "drafts", {"session_id": session_id, "text": storable(text)})
        query = "select 1 from sessions where session_id = ?"
        is_saved = connection.execute(query, (session_id,)).fetchone() is not None
        if text and not is_saved:
            self._locks.hold(session_id)

    @reading
    def bookmark(self, connection: Connection, session_id: str) -> str:
        """Return the reading position, in the form of the screen, or ""."""
        return first_text(connection, "select place from sessions where session_id = ?", session_id)

    @writing
    def save_bookmark(self, connection: Connection, session_id: str, bookmark: str) -> None:
        set_columns(connection, session_id, place=bookmark)


def _set_active_path(connection: Connection, session_id: str, leaf_id: str | None) -> Session:
    """Without `leaf_id`, the path ends at the newest visible message."""
    set_columns(connection, session_id, leaf_id=leaf_id)
    return active_path(connection, session_id)


def _raise_if_missing(connection: Connection, session_id: str, message_id: str) -> None:
    """Raise `SessionNotFound` if another process has removed it."""
    query = "select 1 from messages where message_id = ? and session_id = ?"
    if connection.execute(query, (message_id, session_id)).fetchone() is None:
        raise SessionNotFound(
            "This message is no longer in its session.", next_step="Open the session again."
        )


def _merged(stored: str, own: str, text: str) -> str:
    """Replace what one window has written last, `own`, in a draft in which several type.

    Whole parts between blank lines are compared. If `own` is gone, both texts stay, but what both
    have only once.
    """
    before, found, behind = f"\n\n{stored}\n\n".partition(f"\n\n{own}\n\n")
    if own and found:
        parts = [before.removeprefix("\n\n"), text, behind.removesuffix("\n\n")]
    elif f"\n\n{text}\n\n" in f"\n\n{stored}\n\n":
        parts = [stored]
    elif f"\n\n{stored}\n\n" in f"\n\n{text}\n\n":
        parts = [text]
    else:
        parts = [stored, text]
    return joined_paragraphs(*parts)
