"""Checks of imported sessions: values of the right types, ids of lmchat's form, a sound tree."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec.structs import asdict, replace

from lmchat.domain.message import AnswerState, ChatMessage, interrupted
from lmchat.domain.session import MessagePath, Session, SessionHeader, tags_from
from lmchat.errors import FileRefused
from lmchat.formats.file_values import BAD_VALUE_ERRORS, checked_time

_Value = TypeVar("_Value", ChatMessage, SessionHeader)
_Ids = dict[str | None, str]  # new ids by old ones; a parent may be None
_OWN_ID = re.compile(r"[0-9a-f]{16}")
ID_CHARS = 16
_LONGEST_NAME = 1000  # characters of a title, model or address, which lists read whole
_MOST_TAGS = 50
_CAUSE = "The session was exported"  # of an answer that was streaming


def validated(value: _Value) -> _Value:
    """Return a message or header with converted fields; raises `ValueError`."""
    try:
        converted = msgspec.convert(msgspec.to_builtins(value), type(value))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    times = {
        name: checked_time(time)
        for name, time in asdict(converted).items()
        if isinstance(time, datetime)
    }
    return replace(converted, **times)


@contextmanager
def refusing_changes(message: str) -> Iterator[None]:
    """Refuse a part of an export that is not as lmchat wrote it."""
    try:
        yield
    except (*BAD_VALUE_ERRORS, msgspec.MsgspecError) as error:
        hint = "Export the session again, or undo the changes to the file."
        raise FileRefused(message, hint=hint, details=repr(error)) from error


def normalized(session: Session, *, moment: datetime) -> Session:
    """Return a session with own ids, parents before children and no running answer.

    Foreign ids are replaced by their hash, so the same file gives the same ids. Raises
    `FileRefused` if ids are not unique or messages form a loop.
    """
    header = session.header
    session_id = own_id(header.session_id)
    path = _chained(session.messages)
    on_path = {message.message_id: message for message in path}
    tree = [on_path.get(message.message_id, message) for message in session.tree] or path
    _refuse_duplicate_ids(tree)
    _refuse_duplicate_ids(path)

    ids: _Ids = {}
    for message in tree:
        ids[message.message_id] = own_id(message.message_id, session_id)
    stored = {message.message_id: _stored(message, ids) for message in _parents_first(tree)}
    names = {
        ids[key]: name[:_LONGEST_NAME] for key, name in session.branch_names.items() if key in ids
    }
    return Session(
        header=replace(
            header,
            session_id=session_id,
            title=header.title[:_LONGEST_NAME],
            model=header.model[:_LONGEST_NAME],
            endpoint=header.endpoint[:_LONGEST_NAME],
            tags=tags_from(" ".join(header.tags))[:_MOST_TAGS],
            # A time in the future would keep it on top of the list.
            updated_at=min(header.updated_at, moment),
            deleted_at=None,
            message_count=len(stored),
        ),
        messages=MessagePath(stored[message.message_id] for message in path),
        tree=tuple(stored.values()) if session.tree else (),
        branch_names=names,
        files=session.files,
    )


def own_id(found: str, session_id: str = "") -> str:
    """Return an id of lmchat's form unchanged, others as a hash with `session_id`."""
    if _OWN_ID.fullmatch(found):
        return found
    return hash_id(f"{session_id} {found}" if session_id else found)


def hash_id(text: str) -> str:
    """Return a hash as an id; with another hash, files would be imported twice."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:ID_CHARS]


def _chained(path: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Return a path in which each message follows the one before it."""
    chained: list[ChatMessage] = []
    parent_id: str | None = None
    for message in path:
        chained.append(replace(message, parent_id=parent_id))
        parent_id = message.message_id
    return chained


def _refuse_duplicate_ids(messages: Iterable[ChatMessage]) -> None:
    seen: set[str] = set()
    for number, message in enumerate(messages, 1):
        if message.message_id in seen:
            words = f"Message {number} has a duplicate id."
            raise FileRefused(words, hint="Export the session again.")
        seen.add(message.message_id)


def _parents_first(tree: Sequence[ChatMessage]) -> list[ChatMessage]:
    waiting: dict[str | None, ChatMessage] = {message.message_id: message for message in tree}
    ordered: list[ChatMessage] = []
    for message in tree:
        ancestors: dict[str, ChatMessage] = {}  # those that wait, and the message itself, upwards
        next_up = waiting.get(message.message_id)
        while next_up is not None:
            if next_up.message_id in ancestors:
                raise FileRefused("Its messages form a loop.", hint="Export it again.")
            ancestors[next_up.message_id] = next_up
            next_up = waiting.get(next_up.parent_id)
        ordered += [waiting.pop(message_id) for message_id in reversed(ancestors)]
    return ordered


def _stored(message: ChatMessage, ids: _Ids) -> ChatMessage:
    if message.state is AnswerState.STREAMING:
        message = interrupted(message, _CAUSE)
    return replace(
        message,
        message_id=ids[message.message_id],
        parent_id=ids.get(message.parent_id),
        model=message.model[:_LONGEST_NAME],
        endpoint=message.endpoint[:_LONGEST_NAME],
    )
