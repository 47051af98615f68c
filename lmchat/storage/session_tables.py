"""Sessions, messages, drafts and reading positions in the tables of a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from lmchat.errors import SessionNotFound, WrongUse
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    Role,
    TokenProbabilities,
    interrupted,
    new_id,
)
from lmchat.sessions.session import MessagePath, SearchHit, Session, SessionHeader
from lmchat.storage import message_rows, search
from lmchat.storage.choice_rows import copy_choices, read_choices
from lmchat.storage.connection import Connection
from lmchat.storage.database import Jobs, reading, writing
from lmchat.storage.message_rows import make_leaf, number_of, put_message, put_session, set_columns
from lmchat.storage.row_values import (
    HEADER_COLUMNS,
    column,
    header_from,
    insert,
    loaded,
    stored,
)
from lmchat.storage.session_queries import (
    BELOW,
    DRAFT,
    all_messages,
    chosen_path,
    end_of_path,
    first_id,
    first_prompt_title,
    first_text,
    header,
    leaf_without,
    newest_leaf,
    whole_path,
)

_SHORTEST_PREFIX_CHARS = 4  # of a session's id
_MOST_AMBIGUOUS_IDS = 9  # that an error names
# People repeat prompts: five times as many are read as are returned, each once.
_READ_PER_RETURNED_PROMPT = 5
_CHANGEABLE_COLUMNS = ("title", "is_pinned", "is_archived", "deleted_at", "tags", "sampling")
_FORKED = "The session was forked"  # reason of an interrupted answer


class SessionTables:
    """The methods of `services.ports.ChatStore`, which documents them, that need tables only.

    `SqliteStore` has its tables in a file; `UnsavedStore` has some in memory.
    """

    def __init__(self, database: Jobs, clock: Callable[[], datetime]) -> None:
        self.database = database
        self._clock = clock

    # Sessions

    @reading
    def list_sessions(
        self, connection: Connection, *, is_trash: bool = False
    ) -> tuple[SessionHeader, ...]:
        """Return the sessions that are not in the trash, or with `is_trash` those that are in it.

        The first are pinned ones, then those that were changed last. Those in the trash are sorted
        by the time of their deletion, newest first. Damaged sessions are left out.
        """
        if is_trash:
            rows = "where deleted_at is not null order by deleted_at desc, rowid desc"
        else:
            rows = "where deleted_at is null order by is_pinned desc, updated_at desc, rowid desc"
        query = f"select {HEADER_COLUMNS} from sessions {rows}"
        headers = [header_from(row) for row in connection.execute(query)]
        return tuple(header for header in headers if header is not None)

    @reading
    def find(self, connection: Connection, id_or_prefix: str) -> str:
        """Return the only session id that begins with a text of at least 4 characters.

        Capitals in the text count as small letters. For the text `last`, return the id of the
        session that was changed last. Raises `SessionNotFound` if no id or more than one fits.
        """
        if id_or_prefix == "last":
            return _last_session_id(connection)
        if len(id_or_prefix) < _SHORTEST_PREFIX_CHARS:
            raise SessionNotFound(
                f"“{id_or_prefix}” is too short for a session id.",
                hint="Type at least the first 4 characters.",
            )

        rows = connection.execute(
            """select session_id from sessions where substr(session_id, 1, ?) = ?
                order by updated_at desc, rowid desc limit ?""",
            (len(id_or_prefix), id_or_prefix.lower(), _MOST_AMBIGUOUS_IDS),
        )
        matching_ids = [str(session_id) for (session_id,) in rows]
        if not matching_ids:
            raise SessionNotFound(
                f"No session id begins with {id_or_prefix}.",
                hint="`lmchat sessions` lists them all.",
            )
        if len(matching_ids) > 1:
            raise SessionNotFound(
                f"More than one session id begins with {id_or_prefix}: {', '.join(matching_ids)}.",
                hint="Type more characters of it.",
            )
        return matching_ids[0]

    @reading
    def open_session(
        self, connection: Connection, session_id: str, *, count: int | None = None
    ) -> Session:
        return chosen_path(connection, session_id, count)

    @writing
    def update_session(
        self, connection: Connection, session_id: str, changes: Mapping[str, object]
    ) -> SessionHeader:
        """Set columns of a session to values by name, and return the new header.

        An empty title is replaced by the title of the first prompt. Raises `SessionNotFound`, and
        `WrongUse` for a column that is not in `_CHANGEABLE_COLUMNS`.
        """
        header(connection, session_id)  # raises an error where there is no such session
        for name, value in changes.items():
            if name not in _CHANGEABLE_COLUMNS:
                raise WrongUse(f"“{name}” of a session cannot be changed.")
            new_value = value
            if name == "title" and not value:
                new_value = first_prompt_title(connection, session_id)
            set_columns(connection, session_id, **{name: column(new_value)})
        return header(connection, session_id)

    @writing
    def fork(self, connection: Connection, session_id: str, message_id: str) -> Session:
        """Copy the path to a message into a new session, and return that session.

        Each copied message gets a new id. A running answer is an interrupted one in the copy.
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
            ended = interrupted(message, _FORKED) if is_running else message
            if ended.stats is not None:
                # what the server keeps under `replay_id` is fetched for the original answer only
                ended = replace(ended, stats=replace(ended.stats, replay_id=""))
            copy = replace(ended, message_id=new_id(), parent_id=parent_id)
            put_message(connection, fork.session_id, copy)
            copy_choices(connection, message.message_id, copy.message_id)
            parent_id = copy.message_id
        return _choose_path(connection, fork.session_id, parent_id)

    @reading
    def search(
        self, connection: Connection, query: str, *, limit: int = 20
    ) -> tuple[SearchHit, ...]:
        return search.search(connection, query, limit)

    # Messages

    @reading
    def read_back(
        self, connection: Connection, session_id: str, message_id: str, *, count: int
    ) -> tuple[MessagePath, str | None]:
        return end_of_path(connection, session_id, message_id, count)

    @reading
    def has_message(self, connection: Connection, message_id: str) -> bool:
        return number_of(connection, message_id) is not None

    @writing
    def append(self, connection: Connection, session: SessionHeader, message: ChatMessage) -> None:
        """Write a message as the new leaf of its session; a missing session is created."""
        put_session(connection, session)
        put_message(connection, session.session_id, message)
        make_leaf(connection, session.session_id, message, self._clock())

    @writing
    def append_branch(
        self, connection: Connection, session: SessionHeader, messages: Sequence[ChatMessage]
    ) -> Session:
        """Write messages that follow each other, and return the session with the path to the last.

        That path becomes the chosen one. A missing session is created.
        """
        put_session(connection, session)
        for message in messages:
            put_message(connection, session.session_id, message)
        make_leaf(connection, session.session_id, messages[-1], self._clock())
        return chosen_path(connection, session.session_id)

    @writing
    def begin_answer(self, connection: Connection, session_id: str, message: ChatMessage) -> None:
        message_rows.begin_answer(connection, session_id, message, self._clock())

    @writing
    def finish(
        self,
        connection: Connection,
        session_id: str,
        message: ChatMessage,
        choices: Sequence[TokenProbabilities] = (),
    ) -> None:
        message_rows.end_answer(connection, session_id, message, self._clock(), choices)

    @reading
    def token_choices(
        self, connection: Connection, message_id: str
    ) -> tuple[TokenProbabilities, ...]:
        return read_choices(connection, message_id)

    @writing
    def delete_message(self, connection: Connection, session_id: str, message_id: str) -> Session:
        """Hide a message and the visible ones below it; return the session with the path to show.

        The hidden rows name this message in `hidden_by`, so that `restore_message` finds them. If
        the message was on the chosen path, `leaf_without` chooses another one. Raises
        `SessionNotFound`.
        """
        _raise_if_missing(connection, session_id, message_id)
        path = chosen_path(connection, session_id).messages
        was_on_path = path.index_of(message_id) is not None
        connection.execute(
            f"""{BELOW} update messages set hidden_by = :message
                where number in (select number from below where hidden_by is null)""",
            {"session": session_id, "message": message_id},
        )
        # The newest deletion is undone first. So this one gets a later time than all earlier ones,
        # even if the clock was set back in between.
        query = "select max(hidden_at) from messages where session_id = ?"
        last_hidden_at = connection.execute(query, (session_id,)).fetchone()[0]
        connection.execute(
            "update messages set hidden_at = ? where message_id = ?",
            (message_rows.stored_after(self._clock(), last_hidden_at), message_id),
        )

        if not was_on_path:
            return chosen_path(connection, session_id)
        leaf_id = leaf_without(connection, session_id, message_id)
        return _choose_path(connection, session_id, leaf_id)

    @writing
    def restore_message(self, connection: Connection, session_id: str, message_id: str) -> Session:
        """Make a deleted message visible again, and the others that its deletion has hidden.

        Return the session with the path to the newest message at or below it, which becomes the
        chosen one. Raises `SessionNotFound`.
        """
        _raise_if_missing(connection, session_id, message_id)
        connection.execute(
            "update messages set hidden_by = null where session_id = ? and hidden_by = ?",
            (session_id, message_id),
        )
        query = "update messages set hidden_at = null where message_id = ?"
        connection.execute(query, (message_id,))
        leaf_id = newest_leaf(connection, session_id, message_id)
        return _choose_path(connection, session_id, leaf_id)

    @reading
    def last_deleted_message(self, connection: Connection, session_id: str) -> str | None:
        """Return the id of the message that was deleted last, whose deletion can be undone next.

        Return None if no deletion can be undone. The message may be visible itself, if another
        window has added a message below it. Its deletion then still hides other messages below it.
        """
        query = """select root.message_id from messages root
            where root.session_id = ? and root.message_id in
                (select hidden_by from messages where session_id = root.session_id)
            order by root.hidden_at desc, root.number desc"""
        return first_id(connection, query, (session_id,))

    @writing
    def set_excluded(
        self,
        connection: Connection,
        session_id: str,
        message_ids: Sequence[str],
        *,
        is_excluded: bool,
    ) -> None:
        """Take messages out of requests, or put them back, all or none.

        Raises `SessionNotFound` if a message does not exist.
        """
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
    def set_leaf(self, connection: Connection, session_id: str, message_id: str) -> Session:
        """Choose the path that ends with the newest message at or below a message; return it.

        Raises `SessionNotFound`.
        """
        _raise_if_missing(connection, session_id, message_id)
        leaf_id = newest_leaf(connection, session_id, message_id)
        return _choose_path(connection, session_id, leaf_id)

    # Prompts, drafts and reading positions

    @reading
    def prompt_history(self, connection: Connection, *, limit: int = 200) -> tuple[str, ...]:
        """Return at most `limit` earlier prompts of all sessions, newest first, each once.

        They are fewer if the newest `limit` × `_READ_PER_RETURNED_PROMPT` prompts repeat themselves
        more often. Deleted prompts are left out.
        """
        rows = connection.execute(
            """select p.text from messages m
                cross join parts p on p.number = m.number and p.kind = 'text'
                cross join sessions s on s.session_id = m.session_id
                where m.role = ? and m.hidden_by is null and s.deleted_at is null
                order by m.number desc limit ?""",
            (Role.USER, limit * _READ_PER_RETURNED_PROMPT),
        )
        different_prompts = dict.fromkeys(loaded(text) for (text,) in rows)
        return tuple(different_prompts)[:limit]

    @reading
    def draft(self, connection: Connection, session_id: str) -> str:
        return first_text(connection, DRAFT, session_id)

    @writing
    def save_draft(self, connection: Connection, session_id: str, text: str) -> None:
        connection.execute("delete from drafts where session_id = ?", (session_id,))
        if text:
            insert(connection, "drafts", {"session_id": session_id, "text": stored(text)})

    @reading
    def bookmark(self, connection: Connection, session_id: str) -> str:
        return first_text(connection, "select place from sessions where session_id = ?", session_id)

    @writing
    def save_bookmark(self, connection: Connection, session_id: str, bookmark: str) -> None:
        set_columns(connection, session_id, place=bookmark)


def _last_session_id(connection: Connection) -> str:
    """Return the id of the session that was changed last; raises `SessionNotFound`."""
    query = """select session_id from sessions where deleted_at is null
        order by updated_at desc, rowid desc"""
    session_id = first_id(connection, query, ())
    if session_id is None:
        raise SessionNotFound(
            "There are no saved sessions.",
            hint="Your first message starts one; `lmchat sessions --trash` lists deleted ones.",
        )
    return session_id


def _choose_path(connection: Connection, session_id: str, leaf_id: str | None) -> Session:
    """Choose the path that ends with a leaf, and return the session with that path.

    For None, `chosen_path` falls back to the newest visible message.
    """
    set_columns(connection, session_id, leaf_id=leaf_id)
    return chosen_path(connection, session_id)


def _raise_if_missing(connection: Connection, session_id: str, message_id: str) -> None:
    """Raise `SessionNotFound` if a session has no such message: another process has removed it."""
    query = "select 1 from messages where message_id = ? and session_id = ?"
    if connection.execute(query, (message_id, session_id)).fetchone() is None:
        raise SessionNotFound(
            "This message is no longer in its session.", hint="Open the session again."
        )
