"""A session as read from a file, made such that a store can take it and nothing in it means another one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage, Failure, new_id
from lmchat.domain.path import MessagePath
from lmchat.domain.session import Session, SessionHeader, tags_from
from lmchat.errors import FileRefused

_OWN_ID = re.compile(r"[0-9a-f]{16}")
_LONGEST_NAME = 1000
"""Characters of a title, a model or an address: they stand in lists, which are read whole."""
_MOST_TAGS = 50
_CUT = Failure(kind="interrupted", message="The session was exported while this answer was arriving.")


def sound(session: Session, *, moment: datetime) -> Session:
    """Return a session whose ids are of our kind, whose parents come first, in which no answer arrives.

    What is called otherwise gets an id made of its own, so that the same file gives the same ids.

    Raises:
        FileRefused: two of its messages have one id, or they hang in a circle.
    """
    own = session.header.session_id
    session_id = own if _OWN_ID.fullmatch(own) else _digest(own)
    path = _chained(session.messages)
    fresh = {message.message_id: message for message in path}
    tree = [fresh.get(message.message_id, message) for message in session.tree] or path
    _refuse_twins(path if not session.tree else tree, path)
    ids = {one.message_id: _id_of(one.message_id, session_id) for one in tree}
    named = [_named(message, ids) for message in _parents_first(tree)]
    by_id = {message.message_id: message for message in named}
    header = replace(
        session.header,
        session_id=session_id,
        title=session.header.title[:_LONGEST_NAME],
        model=session.header.model[:_LONGEST_NAME],
        endpoint=session.header.endpoint[:_LONGEST_NAME],
        tags=tags_from(" ".join(session.header.tags))[:_MOST_TAGS],
        # A time that lies ahead would keep it on top of the list.
        updated_at=min(session.header.updated_at, moment),
        deleted_at=None,
        message_count=len(named),
    )
    return Session(
        header=header,
        messages=MessagePath(by_id[ids[message.message_id]] for message in path),
        tree=tuple(named) if session.tree else (),
        branch_names=_names(session, ids),
    )


def renamed(session: Session) -> Session:
    """Return the same under ids that nobody has, for a second copy of it."""
    ids = {message.message_id: new_id() for message in session.tree or session.messages}
    header = replace(session.header, session_id=new_id())
    return Session(
        header=header,
        messages=MessagePath(_named(message, ids) for message in session.messages),
        tree=tuple(_named(message, ids) for message in session.tree),
        branch_names=_names(session, ids),
    )


def _names(session: Session, ids: dict[str, str]) -> dict[str, str]:
    """Return the names of branches by the new ids."""
    return {ids[one]: name[:_LONGEST_NAME] for one, name in session.branch_names.items() if one in ids}


def _chained(path: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return a path each message of which follows the one before it, as the file shows them."""
    chained: list[ChatMessage] = []
    for message in path:
        parent_id = chained[-1].message_id if chained else None
        chained.append(replace(message, parent_id=parent_id))
    return chained


def _refuse_twins(tree: Sequence[ChatMessage], path: Sequence[ChatMessage]) -> None:
    for messages in (tree, path):
        seen: set[str] = set()
        for number, message in enumerate(messages, 1):
            if message.message_id in seen:
                raise FileRefused(
                    f"Message {number} has the id of one before it.", hint="Export the session once more."
                )
            seen.add(message.message_id)


def _parents_first(tree: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return messages in their order, but each behind the one that it follows."""
    waiting = {message.message_id: message for message in tree}
    ordered: list[ChatMessage] = []
    for message in tree:
        line: dict[str, ChatMessage] = {}
        following: ChatMessage | None = waiting.get(message.message_id)
        while following is not None:
            if following.message_id in line:
                raise FileRefused("Its messages follow each other in a circle.", hint="Export it once more.")
            line[following.message_id] = following
            following = None if following.parent_id is None else waiting.get(following.parent_id)
        ordered += [waiting.pop(one) for one in reversed(line)]
    return ordered


def _named(message: ChatMessage, ids: dict[str, str]) -> ChatMessage:
    is_running = message.state is AnswerState.STREAMING
    has_text = bool(message.text or message.reasoning)
    return replace(
        message,
        message_id=ids[message.message_id],
        parent_id=None if message.parent_id is None else ids.get(message.parent_id),
        model=message.model[:_LONGEST_NAME],
        endpoint=message.endpoint[:_LONGEST_NAME],
        state=(AnswerState.INTERRUPTED if has_text else AnswerState.FAILED) if is_running else message.state,
        failure=_CUT if is_running else message.failure,
    )


def _id_of(own: str, session_id: str) -> str:
    return own if _OWN_ID.fullmatch(own) else _digest(f"{session_id} {own}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


T = TypeVar("T", ChatMessage, SessionHeader)

_YEARS = range(1970, 9999)
"""Beyond them a time cannot be told in every zone, and none of a chat is meant."""


def moment_of(text: str) -> datetime:
    """Return a time that a file tells; without a zone it is UTC.

    Raises:
        ValueError: it is none, or none that a chat can have.
    """
    return _possible(datetime.fromisoformat(text))


def checked(message: ChatMessage) -> ChatMessage:
    """Return a message each of whose values is of the kind that its field says.

    Raises:
        ValueError: one is not.
    """
    sound = _sound(message)
    return replace(sound, created_at=_possible(sound.created_at))


def checked_header(header: SessionHeader) -> SessionHeader:
    """Return a header each of whose values is of the kind that its field says.

    Raises:
        ValueError: one is not.
    """
    sound = _sound(header)
    return replace(sound, created_at=_possible(sound.created_at), updated_at=_possible(sound.updated_at))


def _sound(value: T) -> T:
    try:
        return msgspec.convert(msgspec.to_builtins(value), type(value))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def _possible(moment: datetime) -> datetime:
    if moment.year not in _YEARS:
        raise ValueError("a time that cannot be")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class Skipped(Struct, frozen=True, kw_only=True):
    """A part of a file that could not be brought over, or not all of it."""

    where: str
    """Which part, in words."""
    reason: str
    """Why, as the rest of a sentence."""
