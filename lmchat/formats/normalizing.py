"""Checks of imported sessions: values of the right types, ids of lmchat's form, a sound tree."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict, replace

from lmchat.errors import FileRefused
from lmchat.formats.file_values import BAD_VALUE_ERRORS, checked_time
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    FilePart,
    Part,
    interrupted,
)
from lmchat.sessions.session import MessagePath, Session, SessionHeader, tags_from

_Value = TypeVar("_Value", ChatMessage, SessionHeader)
_Ids = dict[str | None, str]  # new ids by old ones; a parent may be None
_OWN_ID = re.compile(r"[0-9a-f]{16}")  # like `1f2e3d4c5b6a7980`
ID_CHARS = 16
_LONGEST_NAME = 1000  # characters of a title, model or address, which lists read whole
_MOST_TAGS = 50
_LARGEST_FIGURE = 1e13  # of milliseconds (300 years), tokens, bytes or pixels
_CAUSE = "The session was exported"  # cause of the end of an answer that was streaming


def validated(value: _Value) -> _Value:
    """Return a message or header whose fields have their declared types.

    Values as a file has them are converted: a text to a time, a name to a role. Times get a zone.
    Raises `ValueError` for a value that cannot be converted.
    """
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
    """Raise `FileRefused` with a message if the block fails at a value of a wrong type."""
    try:
        yield
    except (*BAD_VALUE_ERRORS, msgspec.MsgspecError) as error:
        hint = "Export the session again, or undo the changes to the file."
        raise FileRefused(message, hint=hint, details=repr(error)) from error


def normalized(session: Session, *, moment: datetime) -> Session:
    """Return a session as lmchat stores it.

    Ids of another form are replaced by hashes of them, so the same file gives the same ids. In the
    tree, parents are before their children. A running answer becomes an interrupted one. Long names
    are cut, and absurd figures are left out. The time of the last change is at most `moment`, the
    current time. Raises `FileRefused` if ids are not unique or messages form a loop.
    """
    header = session.header
    session_id = own_id(header.session_id)
    path = _chained(session.messages)
    on_path = {message.message_id: message for message in path}
    # The messages of the path are taken from `path`, where their parents are set. An empty tree
    # means that the path has all messages.
    tree = [on_path.get(message.message_id, message) for message in session.tree] or path
    _refuse_duplicate_ids(tree)
    _refuse_duplicate_ids(path)

    ids: _Ids = {}
    for message in tree:
        ids[message.message_id] = own_id(message.message_id, session_id)
    stored = {message.message_id: _stored(message, ids) for message in _parents_first(tree)}
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
            parent_id=None if header.parent_id is None else own_id(header.parent_id),
            message_count=len(stored),
        ),
        messages=MessagePath(stored[message.message_id] for message in path),
        tree=tuple(stored.values()) if session.tree else (),
        files=session.files,
    )


def valid_stats(stats: AnswerStats | None) -> AnswerStats | None:
    """Return stats without the figures that have a wrong type or are absurdly large."""
    if stats is None:
        return None
    valid: dict[str, Any] = {}
    for name, value in asdict(stats).items():
        if isinstance(value, int | float) and not _is_usual(value):
            continue
        with suppress(msgspec.ValidationError):  # a text, or a fraction of tokens
            valid[name] = getattr(msgspec.convert({name: value}, AnswerStats), name)
    return AnswerStats(**valid)


def _valid_part(part: Part) -> Part:
    """Return a part; the figures of a file that are absurdly large become 0."""
    if not isinstance(part, FilePart):
        return part
    figures = {"size": part.size, "width": part.width, "height": part.height, "tokens": part.tokens}
    return replace(part, **{name: 0 for name, value in figures.items() if not _is_usual(value)})


def _is_usual(figure: float) -> bool:
    """Return whether a figure can be shown; NaN cannot, as it is not smaller than any number."""
    return abs(figure) < _LARGEST_FIGURE


def own_id(file_id: str, session_id: str = "") -> str:
    """Return an id of lmchat's form, 16 hexadecimal digits, unchanged; any other id as a hash.

    `session_id` goes into the hash of a message's id, since two chats may have the same ids.
    """
    if _OWN_ID.fullmatch(file_id):
        return file_id
    return hash_id(f"{session_id} {file_id}" if session_id else file_id)


def hash_id(text: str) -> str:
    """Return the hash of a text as an id.

    It must stay the same in all versions: otherwise files would be imported twice.
    """
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:ID_CHARS]


def _chained(path: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Return the messages of a path, each with the message before it as its parent.

    The parents that the file names are ignored: its order of the path counts.
    """
    chained: list[ChatMessage] = []
    parent_id: str | None = None
    for message in path:
        chained.append(replace(message, parent_id=parent_id))
        parent_id = message.message_id
    return chained


def _refuse_duplicate_ids(messages: Iterable[ChatMessage]) -> None:
    seen_ids: set[str] = set()
    for number, message in enumerate(messages, 1):
        if message.message_id in seen_ids:
            error_message = f"Message {number} has a duplicate id."
            raise FileRefused(error_message, hint="Export the session again.")
        seen_ids.add(message.message_id)


def _parents_first(tree: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the messages in an order in which each parent is before its children.

    Apart from that, their order stays. Raises `FileRefused` if they form a loop.
    """
    unordered: dict[str | None, ChatMessage] = {message.message_id: message for message in tree}
    ordered: list[ChatMessage] = []
    for message in tree:
        # The message and those above it, upwards, that are not ordered yet.
        chain: dict[str, ChatMessage] = {}
        next_up = unordered.get(message.message_id)
        while next_up is not None:
            if next_up.message_id in chain:
                raise FileRefused("Its messages form a loop.", hint="Export it again.")
            chain[next_up.message_id] = next_up
            next_up = unordered.get(next_up.parent_id)
        ordered += [unordered.pop(message_id) for message_id in reversed(chain)]
    return ordered


def _stored(message: ChatMessage, ids: _Ids) -> ChatMessage:
    """Return a message as it is stored.

    It has its new ids, short names, figures that can be shown, and no running answer.
    """
    if message.state is AnswerState.STREAMING:
        message = interrupted(message, _CAUSE)
    return replace(
        message,
        message_id=ids[message.message_id],
        parent_id=ids.get(message.parent_id),
        parts=tuple(map(_valid_part, message.parts)),
        stats=valid_stats(message.stats),
        model=message.model[:_LONGEST_NAME],
        endpoint=message.endpoint[:_LONGEST_NAME],
    )
