"""Values of imported files, and checks of every imported session."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict, replace

from lmchat.domain.message import AnswerState, ChatMessage, interrupted
from lmchat.domain.session import MessagePath, Session, SessionHeader, tags_from
from lmchat.errors import FileRefused

T = TypeVar("T", ChatMessage, SessionHeader)
Ids = dict[str | None, str]  # new ids by old ones; a parent may be None

_OWN_ID = re.compile(r"[0-9a-f]{16}")
_LONGEST_NAME = 1000  # characters of a title, model or address, which lists read whole
_MOST_TAGS = 50
MOST_NAMED = 1000  # omissions that are named before the next session
WRONG = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""Errors of wrong values."""
_YEARS = range(1970, 9999)  # other times cannot be shown in every time zone
_CUT = "The session was exported"


def checked(value: T) -> T:
    """Return a message or header with converted fields; raises `ValueError`."""
    try:
        sound = msgspec.convert(msgspec.to_builtins(value), type(value))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    times = {
        name: checked_time(time)
        for name, time in asdict(sound).items()
        if isinstance(time, datetime)
    }
    return replace(sound, **times)


def checked_time(time: datetime) -> datetime:
    """Return a time with a zone, UTC by default; raises `ValueError` for one that cannot be shown."""
    if time.year not in _YEARS:
        raise ValueError("a time out of range")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


@contextmanager
def unchanged(what: str) -> Iterator[None]:
    """Refuse a part that is not as lmchat wrote it; `what` is the first sentence."""
    try:
        yield
    except (*WRONG, msgspec.MsgspecError) as error:
        raise FileRefused(
            what,
            hint="Export the session again, or undo the changes to the file.",
            details=repr(error),
        ) from error


def sound(session: Session, *, moment: datetime) -> Session:
    """Return a session with own ids, parents before children and no running answer.

    Foreign ids are replaced by their hash, so the same file gives the same ids. Raises `FileRefused` if
    ids are not unique or messages form a loop.
    """
    session_id = own_id(session.header.session_id)
    path = _chained(session.messages)
    fresh = {message.message_id: message for message in path}
    tree = [fresh.get(message.message_id, message) for message in session.tree] or path
    _refuse_twins(tree)
    _refuse_twins(path)
    ids: Ids = {one.message_id: own_id(one.message_id, session_id) for one in tree}
    stored = {message.message_id: _stored(message, ids) for message in _parents_first(tree)}
    names = {
        ids[one]: name[:_LONGEST_NAME] for one, name in session.branch_names.items() if one in ids
    }
    header = replace(
        session.header,
        session_id=session_id,
        title=session.header.title[:_LONGEST_NAME],
        model=session.header.model[:_LONGEST_NAME],
        endpoint=session.header.endpoint[:_LONGEST_NAME],
        tags=tags_from(" ".join(session.header.tags))[:_MOST_TAGS],
        # A time in the future would keep it on top of the list.
        updated_at=min(session.header.updated_at, moment),
        deleted_at=None,
        message_count=len(stored),
    )
    return Session(
        header=header,
        messages=MessagePath(stored[message.message_id] for message in path),
        tree=tuple(stored.values()) if session.tree else (),
        branch_names=names,
        files=session.files,
    )


def word(row: Any, name: str) -> str:
    """Return a text of an object, or no text."""
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, str) else ""


def as_word(value: object) -> str:
    """Return a text, or no text for any other value."""
    return value if isinstance(value, str) else ""


def row_in(row: Any, name: str) -> dict[str, Any]:
    """Return an object in an object, or an empty one."""
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, dict) else {}


def number_in(row: Any, name: str) -> float:
    """Return a number in an object, or 0."""
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, int | float) else 0


def own_id(found: str, session_id: str = "") -> str:
    """Return our own kind of id unchanged, others as a hash with `session_id`."""
    if _OWN_ID.fullmatch(found):
        return found
    return digest(f"{session_id} {found}" if session_id else found)


def digest(text: str) -> str:
    """Return a hash as an id; a change of it would import files twice."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _chained(path: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Return a path in which each message follows the one before it."""
    chained: list[ChatMessage] = []
    for message in path:
        parent_id = chained[-1].message_id if chained else None
        chained.append(replace(message, parent_id=parent_id))
    return chained


def _refuse_twins(messages: Sequence[ChatMessage]) -> None:
    seen: set[str] = set()
    for number, message in enumerate(messages, 1):
        if message.message_id in seen:
            raise FileRefused(
                f"Message {number} has a duplicate id.", hint="Export the session again."
            )
        seen.add(message.message_id)


def _parents_first(tree: Sequence[ChatMessage]) -> list[ChatMessage]:
    waiting: dict[str | None, ChatMessage] = {message.message_id: message for message in tree}
    ordered: list[ChatMessage] = []
    for message in tree:
        line: dict[str, ChatMessage] = {}
        following = waiting.get(message.message_id)
        while following is not None:
            if following.message_id in line:
                raise FileRefused("Its messages form a loop.", hint="Export it again.")
            line[following.message_id] = following
            following = waiting.get(following.parent_id)
        ordered += [waiting.pop(one) for one in reversed(line)]
    return ordered


def _stored(message: ChatMessage, ids: Ids) -> ChatMessage:
    return replace(
        interrupted(message, _CUT) if message.state is AnswerState.STREAMING else message,
        message_id=ids[message.message_id],
        parent_id=ids.get(message.parent_id),
        model=message.model[:_LONGEST_NAME],
        endpoint=message.endpoint[:_LONGEST_NAME],
    )
